"""Document 001: two 3x3 convolutions that keep the size, each pooled; Adam, 10 epochs.

The two lines marked `# mnist_fast` are all that the fused block needs. The lines are the author's, but for these: the
document leaves out `import torch.nn.functional as F` and both loaders (batch size 64 is ours), and the data directory
and the number of epochs come from options.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from command_line import first, options
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import mnist_fast  # mnist_fast

args = options(__doc__, epochs=10)

# 加载数据集
train_dataset = datasets.MNIST(root=args.data_dir, train=True, transform=transforms.ToTensor(), download=True)
test_dataset = datasets.MNIST(root=args.data_dir, train=False, transform=transforms.ToTensor())
train_loader = DataLoader(first(train_dataset, args.images), batch_size=64, shuffle=True)
test_loader = DataLoader(first(test_dataset, args.images), batch_size=64)


# 定义模型
class CNN(nn.Module):
    def __init__(self):
        super(CNN, self).__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3, stride=1, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, stride=1, padding=1)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 64 * 7 * 7)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return x


# 初始化模型
model = CNN()
model = mnist_fast.fuse(model)  # mnist_fast
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters())

# 训练模型
for epoch in range(args.epochs):
    for i, data in enumerate(train_loader, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()

# 评估模型
correct = 0
total = 0
with torch.no_grad():
    for data in test_loader:
        images, labels = data
        outputs = model(images)
        _, predicted = torch.max(outputs.data, 1)
        total += labels.size(0)
        correct += (predicted == labels).sum().item()

print('Accuracy of the network on the 10000 test images: %d %%' % (100 * correct / total))
