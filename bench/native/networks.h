// The convolution blocks of the reference networks, as mnist_fast/models/reference.py builds them.
#pragma once

#include <cstdint>

namespace native_bench {

struct Block {
    const char* name;  // network.layer; the blocks of a network follow one another
    bool first;        // reads the images; the others read the output of the block before
    int64_t channels;  // output channels
    int64_t kernel, padding, pool;
};

constexpr int64_t kImageSize = 28;  // pixels, in each direction, of one channel

constexpr Block kBlocks[] = {
    {"cnn.conv1", true, 32, 3, 0, 1},        {"cnn.conv2", false, 64, 3, 0, 2},
    {"cnn-padded.conv1", true, 32, 3, 1, 2}, {"cnn-padded.conv2", false, 64, 3, 1, 2},
    {"lenet.conv1", true, 6, 5, 0, 2},       {"lenet.conv2", false, 16, 5, 0, 2},
    {"anchor.conv1", true, 24, 5, 0, 2},     {"anchor.conv2", false, 32, 3, 0, 2},
    {"speedrun.conv1", true, 8, 5, 0, 3},    {"speedrun.conv2", false, 32, 3, 0, 2},
};

}  // namespace native_bench
