// The first exception of any member of a team, rethrown after the region: none may leave it.
#pragma once

#include <exception>
#include <mutex>

namespace dodeca::runtime {

class FirstError {
 public:
  template <class Work>
  void guard(Work&& work) noexcept {
    try {
      work();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
};

}  // namespace dodeca::runtime
