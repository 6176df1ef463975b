#include "threads.h"

#include <barrier>
#include <memory>
#include <thread>
#include <vector>

namespace native_bench {
namespace {

struct Work {
    int64_t count;
    void (*body)(void*, int64_t, int64_t);
    void* context;
};

class Pool {
  public:
    explicit Pool(int64_t size) : size_(size), begin_(size), end_(size) {
        for (int64_t part = 1; part < size; ++part) threads_.emplace_back([this, part] { serve(part); });
    }

    ~Pool() {
        work_.body = nullptr;
        begin_.arrive_and_wait();
        for (std::thread& thread : threads_) thread.join();
    }

    void run(const Work& work) {
        work_ = work;
        begin_.arrive_and_wait();
        run_part(0);
        end_.arrive_and_wait();
    }

  private:
    void serve(int64_t part) {
        for (;;) {
            begin_.arrive_and_wait();
            if (!work_.body) return;
            run_part(part);
            end_.arrive_and_wait();
        }
    }

    void run_part(int64_t part) {
        const int64_t begin = work_.count * part / size_, end = work_.count * (part + 1) / size_;
        if (begin < end) work_.body(work_.context, begin, end);
    }

    const int64_t size_;
    std::barrier<> begin_, end_;
    Work work_{};
    std::vector<std::thread> threads_;
};

std::unique_ptr<Pool> pool;  // Parallel is a plain function, so its pool is the program's

}  // namespace

void start_threads(int64_t count) { pool = std::make_unique<Pool>(count); }

const mnist_fast::Parallel kThreads{
    [](int64_t count, void (*body)(void*, int64_t, int64_t), void* context) { pool->run({count, body, context}); }};

}  // namespace native_bench
