// One block of threads on the CPU: each thread a fiber, run in an order that a schedule decides, until all have ended.
//
// A thread runs until it has to wait: for the other lanes of its warp (an instruction that they execute together) or
// for the other threads of its block (a barrier). Between two waits nothing else runs, so that what a schedule can vary
// is who comes next. Errors stop the program with one line on standard error and exit code 1.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "simt/fiber.h"

namespace simt {

constexpr int kLanes = 32;

struct Index {
    unsigned x = 1, y = 1, z = 1;
    Index(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

}  // namespace simt

// The names that kernels know them by.
inline simt::Index threadIdx, blockIdx, blockDim, gridDim;

namespace simt {

enum class Schedule {
    kInOrder,
    kReversed,
    kRandom,
    kStarve,  // a warp runs from barrier to barrier, and on behind it, before any other gets a turn
};

inline Schedule schedule = Schedule::kInOrder;
inline std::mt19937 random_order(1);

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "simt: %s\n", what);
    std::exit(1);
}

// What a lane brings to an instruction of its warp; `code` tells instructions apart.
struct Lane {
    int code;
    void* operands;
};

struct Warp {
    Lane lanes[kLanes];
    uint32_t arrived = 0, runnable = 0, members = 0;
};

struct Thread {
    Fiber fiber;
    Index index;
    int warp, lane;
    std::vector<std::function<void()>> copies;  // asynchronous ones, not yet there
};

class Block {
  public:
    // Shared memory is filled with ones: not a number in every format, and no index. What lies around it is watched.
    Block(Index size, size_t shared_bytes) : size_(size), shared_bytes_(shared_bytes) {
        const unsigned threads = size.x * size.y * size.z;
        blockDim = size;
        if (threads == 0 || threads > 1024) fail("a block has 1 to 1024 threads");
        threads_ = std::vector<Thread>(threads);
        warps_.resize((threads + kLanes - 1) / kLanes);
    }

    void run(Index at, const std::function<void()>& kernel) {
        blockIdx = at;
        prepare_shared_memory();
        for (Warp& warp : warps_) warp = Warp{};
        for (unsigned i = 0; i < threads_.size(); ++i) {
            Thread& thread = threads_[i];
            thread.index = {i % size_.x, i / size_.x % size_.y, i / size_.x / size_.y};
            thread.warp = static_cast<int>(i) / kLanes;
            thread.lane = static_cast<int>(i) % kLanes;
            thread.copies.clear();
            warps_[static_cast<size_t>(thread.warp)].members |= 1u << thread.lane;
            thread.fiber.start([this, &kernel] {
                kernel();
                end();
            });
        }
        for (Warp& warp : warps_) warp.runnable = warp.members;
        alive_ = static_cast<int>(threads_.size());
        at_barrier_ = 0;
        last_ = schedule == Schedule::kReversed ? 0 : static_cast<int>(threads_.size()) - 1;
        take_turn();
        Fiber::switch_to(outside_, current_->fiber);
        check_shared_memory();
    }

    // All lanes of the warp meet here; the last one computes for all and goes on, the others become able to.
    void together(int code, void* operands, void (*compute)(Lane (&lanes)[kLanes])) {
        Warp& warp = warps_[static_cast<size_t>(current_->warp)];
        warp.lanes[current_->lane] = {code, operands};
        warp.arrived |= 1u << current_->lane;
        if (warp.arrived == 0xffffffffu) {
            for (const Lane& lane : warp.lanes)
                if (lane.code != code) fail("the lanes of a warp are at different instructions");
            compute(warp.lanes);
            warp.arrived = 0;
            warp.runnable = warp.members;
            if (schedule == Schedule::kInOrder || schedule == Schedule::kStarve) return;
        } else {
            warp.runnable &= ~(1u << current_->lane);
        }
        yield();
    }

    void barrier() {
        Warp& warp = warps_[static_cast<size_t>(current_->warp)];
        warp.runnable &= ~(1u << current_->lane);
        if (++at_barrier_ == alive_) release();
        yield();
    }

    unsigned char* shared_memory() { return shared_; }

    Thread& current() { return *current_; }

  private:
    static constexpr size_t kGuard = 256;
    static constexpr unsigned char kPoison = 0xff, kGuardByte = 0xa5;

    void release() {
        at_barrier_ = 0;
        for (Warp& warp : warps_)
            if (warp.arrived) fail("some lanes of a warp are at a barrier, others at an instruction of the warp");
        for (Warp& warp : warps_) warp.runnable = warp.members;
    }

    void end() {
        if (!current_->copies.empty()) fail("a thread ended without waiting for its copies");
        Warp& warp = warps_[static_cast<size_t>(current_->warp)];
        const uint32_t lane = 1u << current_->lane;
        warp.runnable &= ~lane;
        warp.members &= ~lane;
        --alive_;
        if (alive_ > 0 && at_barrier_ == alive_) release();
        if (alive_ == 0)
            Fiber::switch_to(current_->fiber, outside_);
        else
            yield();
    }

    void take_turn() {
        current_ = &threads_[static_cast<size_t>(next())];
        threadIdx = current_->index;
    }

    void yield() {
        Thread* const from = current_;
        take_turn();
        if (current_ != from) Fiber::switch_to(from->fiber, current_->fiber);
    }

    bool runnable(int thread) const {
        return warps_[static_cast<size_t>(thread / kLanes)].runnable >> thread % kLanes & 1;
    }

    // The thread whose turn it is.
    int next() {
        const int count = static_cast<int>(threads_.size());
        int start = last_, direction = 1;
        switch (schedule) {
            case Schedule::kInOrder: break;
            case Schedule::kReversed: direction = -1; break;
            case Schedule::kRandom: start = static_cast<int>(random_order() % static_cast<unsigned>(count)); break;
            case Schedule::kStarve: {
                // The same warp again while it can; else the last one.
                const int warp = last_ / kLanes;
                if (warps_[static_cast<size_t>(warp)].runnable) {
                    start = warp * kLanes - 1;
                } else {
                    direction = -1;
                    start = 0;
                }
            }
        }
        for (int i = 1; i <= count; ++i) {
            const int thread = ((start + direction * i) % count + count) % count;
            if (runnable(thread)) return last_ = thread;
        }
        fail("deadlock: threads wait for lanes or threads that never come");
    }

    void prepare_shared_memory() {
        void* memory = nullptr;
        if (posix_memalign(&memory, kGuard, shared_bytes_ + 2 * kGuard) != 0) fail("out of memory");
        memory_.reset(static_cast<unsigned char*>(memory));
        std::memset(memory_.get(), kGuardByte, shared_bytes_ + 2 * kGuard);
        shared_ = memory_.get() + kGuard;
        std::memset(shared_, kPoison, shared_bytes_);
        watch(true);
    }
    void check_shared_memory() {
        watch(false);
        for (size_t i = 0; i < kGuard; ++i)
            if (memory_.get()[i] != kGuardByte || shared_[shared_bytes_ + i] != kGuardByte)
                fail("a kernel wrote beyond its shared memory");
    }
    // The address sanitizer reports also what is read there.
    void watch([[maybe_unused]] bool on) {
#if defined(__SANITIZE_ADDRESS__)
        for (unsigned char* guard : {memory_.get(), shared_ + shared_bytes_})
            (on ? __asan_poison_memory_region : __asan_unpoison_memory_region)(guard, kGuard);
#endif
    }

    struct Free {
        void operator()(unsigned char* memory) const { std::free(memory); }
    };

    Index size_;
    size_t shared_bytes_;
    Thread* current_ = nullptr;
    std::unique_ptr<unsigned char, Free> memory_;
    unsigned char* shared_ = nullptr;
    std::vector<Thread> threads_;
    std::vector<Warp> warps_;
    Fiber outside_;
    int alive_ = 0, at_barrier_ = 0, last_ = 0;
};

// The block that runs; blocks of a grid run one after the other.
inline Block* block = nullptr;

}  // namespace simt
