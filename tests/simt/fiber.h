// Threads that a program switches between by itself: one processor, no preemption, so that a schedule decides who runs.
#pragma once

#include <ucontext.h>

#include <csetjmp>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

namespace simt {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kFastSwitches = false;  // the sanitizer knows swapcontext's stacks, and not those of a long jump
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr bool kFastSwitches = true;  // swapcontext asks the system for the signal mask each time
constexpr size_t kStackBytes = 64 * 1024;
#endif

class Fiber {
  public:
    // The program's own stack.
    Fiber() = default;
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // Makes it begin with `body` when it is switched to, on a stack of its own. `body` must not return.
    void start(std::function<void()> body) {
        if (!stack_) stack_ = std::make_unique<char[]>(kStackBytes);
        body_ = std::move(body);
        getcontext(&context_);
        context_.uc_stack.ss_sp = stack_.get();
        context_.uc_stack.ss_size = kStackBytes;
        context_.uc_link = nullptr;
        const auto address = reinterpret_cast<size_t>(this);
        makecontext(&context_, reinterpret_cast<void (*)()>(enter), 2, static_cast<unsigned>(address >> 32),
                    static_cast<unsigned>(address));
        entered_ = false;
    }

    // Leaves `from`, which continues here when somebody switches back to it.
    static void switch_to(Fiber& from, Fiber& to) {
        if (!kFastSwitches) {
            swapcontext(&from.context_, &to.context_);
        } else if (_setjmp(from.jump_) == 0) {
            if (to.entered_) _longjmp(to.jump_, 1);
            to.entered_ = true;
            setcontext(&to.context_);
        }
    }

  private:
    static void enter(unsigned high, unsigned low) {
        reinterpret_cast<Fiber*>(static_cast<size_t>(high) << 32 | low)->body_();
        __builtin_trap();
    }

    ucontext_t context_{};
    jmp_buf jump_;
    bool entered_ = true;
    std::unique_ptr<char[]> stack_;
    std::function<void()> body_;
};

}  // namespace simt
