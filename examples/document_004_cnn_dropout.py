"""Document 004: the network of document 000 with dropout and one ReLU fewer; SGD 0.01, momentum 0.9, batch 4.

The two lines marked `# mnist_fast` are all that the fused block needs. The lines are the author's, but for these: the
data directory and the numbers of epochs and images come from options, and pictures are loaded without worker processes,
which Python 3.14 starts only from a file with a main guard.

The rate is too high for a batch of 4, with stock PyTorch as well: on MNIST the network mostly ends at chance.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
import torchvision
import torchvision.transforms as transforms
from command_line import first, options

import mnist_fast  # mnist_fast

args = options(__doc__, epochs=10)

transform = transforms.Compose(
    [transforms.ToTensor(),
     transforms.Normalize((0.1307,), (0.3081,))]
)

trainset = torchvision.datasets.MNIST(root=args.data_dir, train=True,
                                      download=True, transform=transform)
trainloader = torch.utils.data.DataLoader(first(trainset, args.images), batch_size=4,
                                          shuffle=True)

testset = torchvision.datasets.MNIST(root=args.data_dir, train=False,
                                     download=True, transform=transform)
testloader = torch.utils.data.DataLoader(first(testset, args.images), batch_size=4,
                                         shuffle=False)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout2d(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.conv1(x)
        x = F.relu(x)
        x = self.conv2(x)
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = self.fc1(x)
        x = F.relu(x)
        x = self.dropout2(x)
        x = self.fc2(x)
        output = F.log_softmax(x, dim=1)
        return output


net = Net()
net = mnist_fast.fuse(net)  # mnist_fast

criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

for epoch in range(args.epochs):  # loop over the dataset multiple times
    running_loss = 0.0
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data

        optimizer.zero_grad()

        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()

        running_loss += loss.item()
        if i % 2000 == 1999:    # print every 2000 mini-batches
            print('[%d, %5d] loss: %.3f' %
                  (epoch + 1, i + 1, running_loss / 2000))
            running_loss = 0.0

print('Finished Training')

correct = 0
total = 0
with torch.no_grad():
    for data in testloader:
        images, labels = data
        outputs = net(images)
        _, predicted = torch.max(outputs.data, 1)
        total += labels.size(0)
        correct += (predicted == labels).sum().item()

print('Accuracy of the network on the 10000 test images: %d %%' % (
    100 * correct / total))
