"""Document 003: one convolution on a colour picture of 224x224, and a look at its kernels.

The two lines marked `# mnist_fast` are all that the fused block needs: the second stands in the place of the line above
it. The block is a `Conv2d`, so whatever reads its weights goes on to work. All other lines are the author's; the
seed is ours.
"""

import torch
import torch.nn as nn

import mnist_fast  # mnist_fast

torch.manual_seed(0)

# 定义一个二维卷积层
# stock: conv_layer = nn.Conv2d(in_channels=3, out_channels=16, kernel_size=3, stride=1, padding=1)
conv_layer = mnist_fast.ConvReLUMaxPool2d(3, 16, 3, stride=1, padding=1, relu=False, pool_size=1)  # mnist_fast

# 输入图像数据
input_image = torch.randn(1, 3, 224, 224)

# 进行卷积运算
output_image = conv_layer(input_image)

# 打印输出图像的形状
print(output_image.shape)  # torch.Size([1, 16, 224, 224])

# 获取卷积核的权重
kernel_weights = conv_layer.weight.data

# 将卷积核的权重转换为图像格式
kernel_image = kernel_weights.view(-1, 1, 3, 3)

# 使用matplotlib显示卷积核图像
import matplotlib.pyplot as plt

plt.imshow(kernel_image[0, 0, :, :], cmap='gray')
plt.show()
