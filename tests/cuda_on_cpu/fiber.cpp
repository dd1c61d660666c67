// SPDX-License-Identifier: Apache-2.0
#include "cuda_on_cpu/fiber.h"

#include <cstdint>
#include <cstdlib>
#include <sys/mman.h>

namespace cuda_on_cpu {
namespace {
constexpr std::size_t kGuardBytes = 4096;
}

#if defined(__x86_64__)
// Saves what a call has to preserve, exchanges the stacks, and restores. swapcontext() does the
// same with two system calls, which would be most of the time of a run.
extern "C" void cuda_on_cpu_switch(void** save_stack_pointer, void* load_stack_pointer);
asm(R"(
.text
.globl cuda_on_cpu_switch
.type cuda_on_cpu_switch,@function
cuda_on_cpu_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size cuda_on_cpu_switch, .-cuda_on_cpu_switch
)");
#endif

Fiber::~Fiber() {
  if (stack_ == nullptr) return;
  sanitizer_.destroy();
  munmap(stack_, kStackBytes);
}

void Fiber::adopt_current() { sanitizer_.adopt_current(); }

void Fiber::restart(void (*entry)()) {
  if (stack_ == nullptr) {
    void* const memory = mmap(nullptr,
                              kStackBytes,
                              PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                              -1,
                              0);
    if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) std::abort();
    stack_ = static_cast<char*>(memory);
  }
  sanitizer_.restart(stack_ + kGuardBytes, kStackBytes - kGuardBytes);
#if defined(__x86_64__)
  auto** top = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--top = nullptr;  // entry finds the stack as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the registers that the switch restores
  stack_pointer_ = static_cast<void*>(top);
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_ + kGuardBytes;
  context_.uc_stack.ss_size = kStackBytes - kGuardBytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fiber::switch_from(Fiber& from, bool final) {
  from.sanitizer_.before_leaving(sanitizer_, final);
#if defined(__x86_64__)
  cuda_on_cpu_switch(&from.stack_pointer_, stack_pointer_);
#else
  swapcontext(&from.context_, &context_);
#endif
  from.sanitizer_.after_return();
}

void Fiber::entered(Fiber& from) { sanitizers::FiberState::entered(from.sanitizer_); }

}  // namespace cuda_on_cpu
