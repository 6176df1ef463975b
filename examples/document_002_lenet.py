"""Document 002: LeNet-like, SGD with momentum, 10 epochs; then 10 epochs of fine-tuning.

The two lines marked `# mnist_fast` are all that the fused block needs. The lines are the author's, but for the data
directory and the numbers of epochs and images, which come from options.

As the document has it, the second training changes nothing: `fc4` is never called. What it means to do, with the new
layer in the network, is `mnist-fast finetune RUN --freeze conv --head linear` (docs/finetuning.md).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torch.utils.data as Data
import torchvision.transforms as transforms
import torchvision.datasets as datasets
from command_line import first, options

import mnist_fast  # mnist_fast

args = options(__doc__, epochs=10)


# 构建卷积神经网络模型
class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 4 * 4)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = self.fc3(x)
        return x


# 数据预处理
transform = transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize((0.1307,), (0.3081,))
])

train_dataset = datasets.MNIST(root=args.data_dir, train=True, download=True, transform=transform)
test_dataset = datasets.MNIST(root=args.data_dir, train=False, download=True, transform=transform)

train_loader = Data.DataLoader(first(train_dataset, args.images), batch_size=64, shuffle=True)
test_loader = Data.DataLoader(first(test_dataset, args.images), batch_size=64, shuffle=False)

# 训练模型
net = Net()
net = mnist_fast.fuse(net)  # mnist_fast
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9)

for epoch in range(args.epochs):
    running_loss = 0.0
    for i, data in enumerate(train_loader, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        if i % 100 == 99:
            print('[%d, %5d] loss: %.3f' % (epoch + 1, i + 1, running_loss / 100))
            running_loss = 0.0

# 微调模型
for param in net.conv1.parameters():
    param.requires_grad = False
for param in net.conv2.parameters():
    param.requires_grad = False

net.fc4 = nn.Linear(16 * 4 * 4, 10)

optimizer = optim.SGD(net.fc4.parameters(), lr=0.001, momentum=0.9)

for epoch in range(args.epochs):
    running_loss = 0.0
    for i, data in enumerate(train_loader, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        if i % 100 == 99:
            print('[%d, %5d] loss: %.3f' % (epoch + 1, i + 1, running_loss / 100))
            running_loss = 0.0

# 测试模型
correct = 0
total = 0
with torch.no_grad():
    for data in test_loader:
        images, labels = data
        outputs = net(images)
        _, predicted = torch.max(outputs.data, 1)
        total += labels.size(0)
        correct += (predicted == labels).sum().item()

print('Accuracy of the network on the 10000 test images: %d %%' % (100 * correct / total))
