"""Document 000: two 3x3 convolutions, one pooling, cross-entropy and Adam.

The two lines marked `# mnist_fast` are all that the fused block needs.

The document has the network (its own lines stand between the rules below; it forgets `import torch`) and names the
steps around it, which are written out here. Batch size and epochs are ours, as it gives none.
"""

import torch
import torch.nn as nn
import torchvision.transforms as transforms
from command_line import first, options
from torch.utils.data import DataLoader
from torchvision import datasets

import mnist_fast  # mnist_fast

args = options(__doc__, epochs=3)

# ----------------------------------------------------------------------------------------------------------------------


class CNN(nn.Module):
    def __init__(self):
        super(CNN, self).__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.conv1(x)
        x = nn.functional.relu(x)
        x = self.conv2(x)
        x = nn.functional.relu(x)
        x = nn.functional.max_pool2d(x, 2)
        x = torch.flatten(x, 1)
        x = self.fc1(x)
        x = nn.functional.relu(x)
        x = self.fc2(x)
        output = nn.functional.log_softmax(x, dim=1)
        return output


# ----------------------------------------------------------------------------------------------------------------------

net = CNN()
net = mnist_fast.fuse(net)  # mnist_fast

transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
trainset = datasets.MNIST(root=args.data_dir, train=True, download=True, transform=transform)
testset = datasets.MNIST(root=args.data_dir, train=False, download=True, transform=transform)
trainloader = DataLoader(first(trainset, args.images), batch_size=64, shuffle=True)
testloader = DataLoader(first(testset, args.images), batch_size=1000)

criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(net.parameters())

for epoch in range(args.epochs):
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: loss of the last batch {loss.item():.3f}")

correct = 0
total = 0
with torch.no_grad():
    for images, labels in testloader:
        correct += (net(images).argmax(1) == labels).sum().item()
        total += len(labels)
print(f"Accuracy on {total} test images: {correct / total:.2%}")
