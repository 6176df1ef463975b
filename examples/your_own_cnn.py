# %% [markdown]
# # The fused block in your own network
#
# A walk from one block to a trained network on colour pictures of 224x224 that is measured, looked into, and taken
# elsewhere. Run the cells in Jupyter or an editor that knows `# %%`, or all of it by `python examples/your_own_cnn.py`:
# half a minute. The pictures are scikit-learn's handwritten digits, coloured and enlarged, so nothing is
# downloaded.

# %%
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch import nn

import mnist_fast
from mnist_fast.data import load_dataset
from mnist_fast.metrics import classification_report

IMAGES, EPOCHS = 1400, 5
torch.manual_seed(0)
FILES = Path("your_own_cnn")
FILES.mkdir(exist_ok=True)

# %% [markdown]
# ## One block
# `ConvReLUMaxPool2d` is a `Conv2d` with ReLU and pooling behind it. A colour picture of 224x224 in, 16 maps of 112x112
# out; the convolution's 224x224 maps are never in memory.

# %%
block = mnist_fast.ConvReLUMaxPool2d(3, 16, kernel_size=3, padding=1)
picture = torch.randn(1, 3, 224, 224)
print(block)
print(block(picture).shape)
three_steps = F.max_pool2d(F.relu(F.conv2d(picture, block.weight, block.bias, padding=1)), 2)
torch.testing.assert_close(block(picture), three_steps)

# %% [markdown]
# ## A network
# Blocks are layers like others. `channels_last` is the memory format that the kernels read without a copy.

# %%
net = nn.Sequential(
    mnist_fast.ConvReLUMaxPool2d(3, 16, 5, stride=2, padding=2),  # 224 -> 112 -> 56
    mnist_fast.ConvReLUMaxPool2d(16, 32, 3, padding=1),  # 56 -> 28
    mnist_fast.ConvReLUMaxPool2d(32, 32, 3, padding=1, pool_size=4),  # 28 -> 7
    nn.Flatten(),
    nn.Linear(32 * 7 * 7, 10),
).to(memory_format=torch.channels_last)

# %% [markdown]
# ## Pictures
# Each digit in a light colour of its own on a dark one.


# %%
def coloured(digits: torch.Tensor) -> torch.Tensor:
    """(N, 28, 28) uint8 -> (N, 3, 224, 224) float from 0 to 1, in channels_last."""
    dark, light = torch.rand(2, len(digits), 3, 1, 1) / 2
    small = dark + (light + 0.5 - dark) * digits[:, None] / 255
    large = F.interpolate(small, size=(224, 224), mode="bilinear")
    return large.contiguous(memory_format=torch.channels_last)


data = load_dataset("digits")
images, labels = coloured(data.train_images[:IMAGES]), data.train_labels[:IMAGES]
test_images, test_labels = coloured(data.test_images[:IMAGES]), data.test_labels[:IMAGES]

figure, axes = plt.subplots(2, 6, figsize=(9, 3.4))
for axis, image, label in zip(axes.flat, images, labels, strict=False):
    axis.imshow(image.permute(1, 2, 0).numpy())
    axis.set_title(str(int(label)))
    axis.set_axis_off()
figure.savefig(FILES / "pictures.png")

# %% [markdown]
# ## Training
# Plain PyTorch. Only the positions that won their pooling window take part in the backward pass.

# %%
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
for epoch in range(EPOCHS):
    losses = []
    for batch in torch.randperm(len(images)).split(32):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images[batch] - 0.5), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}")

# %% [markdown]
# ## How good is it?
# Accuracy over all pictures; for each class precision (how many of those called a 3 are one) and recall (how many of
# the 3s were found).

# %%
net.eval()
with torch.inference_mode():
    predictions = torch.cat([net(part - 0.5).argmax(1) for part in test_images.split(64)])
report = classification_report(test_labels, predictions, num_classes=10)
print(f"accuracy {report['accuracy']:.1%}")
for digit in range(10):
    values = (f"{name} {report['per_class'][name][digit]:.1%}" for name in ("precision", "recall", "f1"))
    print(f"{digit}: {', '.join(values)}")

# %% [markdown]
# ## What it learned
# The filters of the first block are colour pictures themselves.

# %%
filters = net[0].weight.detach()  # (16, 3, 5, 5)
filters = (filters - filters.amin()) / (filters.amax() - filters.amin())
figure, axes = plt.subplots(2, 8, figsize=(9, 2.6))
for axis, kernel in zip(axes.flat, filters, strict=True):
    axis.imshow(kernel.permute(1, 2, 0).numpy())
    axis.set_axis_off()
figure.suptitle("The 16 filters of the first block")
figure.savefig(FILES / "filters.png")

# %% [markdown]
# ## A network that you have already
# `fuse` finds the chains in it, also where its `forward` calls `F.relu` and `F.max_pool2d` itself.


# %%
class Stock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.head(x.mean((2, 3)))


stock = Stock()
fused = mnist_fast.fuse(stock)
print(fused.conv1)
torch.testing.assert_close(fused(test_images[:4]), stock(test_images[:4]))

# %% [markdown]
# ## Elsewhere
# `unfuse` gives stock modules with the same weights: what is saved of it loads where this package is not installed.

# %%
plain = mnist_fast.unfuse(net).eval()
print(plain)
torch.save(plain.state_dict(), FILES / "weights.pt")
program = torch.export.export(plain, (test_images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
torch.export.save(program, FILES / "network.pt2")
loaded = torch.export.load(FILES / "network.pt2").module()
with torch.inference_mode():
    torch.testing.assert_close(loaded(test_images[:8]), net(test_images[:8]))
