// What a command says and hears beside its results: notices and progress on standard error, results on standard output,
// signals as a flag that loops poll. Results and messages never mix.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "runtime/base/log.hpp"

namespace dodeca::runtime::cli {

class Options;

struct Console {
  bool quiet = false, verbose = false, no_progress = false;

  void add_flags(Options& options);          // -q, -v, --no-progress; the options' notes come here
  void warn(std::string_view line) const;    // always shown
  void info(std::string_view line) const;    // unless -q
  void detail(std::string_view line) const;  // with -v
  Log log() const;
};

// Progress of one long operation: a bar on a terminal, else a plain line every 30 s; nothing with -q or --no-progress.
// `unit` names what is counted ("MB", "requests"); `scale` divides the numbers shown.
class ProgressBar {
 public:
  ProgressBar(const Console& console, std::string label, std::string unit, double scale = 1.0);
  ~ProgressBar();  // ends the terminal line
  // False when a signal asks to stop.
  bool update(double done, double total, std::string_view extra = {});
  void finish();
  Progress callback();  // for Progress parameters; the bar must outlive it
 private:
  void draw(double done, double total, std::string_view extra, double seconds);
  std::string label_, unit_;
  double scale_;
  bool shown_, terminal_, drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

// "3 s", "2 min 10 s", "5 h 02 min".
std::string duration_text(double seconds);
// "12.3 MiB", "230.6 GiB".
std::string bytes_text(double bytes);

// Results: written to standard output. Throws OutputClosed when the reader has gone (quiet, exit code 0), Error{kIo}
// when the system refuses (disk full).
void print_out(std::string_view text);
void flush_out();
struct OutputClosed {};

bool stderr_is_terminal();
bool stdout_is_terminal();
bool stdin_is_terminal();
bool use_colour();  // standard error is a terminal and NO_COLOR is unset

// A program may be started with descriptors 0, 1 and 2 closed (cron, daemons, `2>&-`): the first files that it opens
// would get these numbers, and messages would land in them. What is closed is opened so that reading from 0 and writing to
// 1 fail as they would, and what is written to 2 is lost. Before anything else is opened.
void open_standard_descriptors();

// SIGINT, SIGTERM and SIGHUP (unless it is ignored, as nohup has it) set a flag; the same signal a second time ends the
// process at once (exit code 128 and the signal), so that an operation that polls rarely can still be left. SIGPIPE is
// ignored: see print_out.
void install_signal_handlers();
int stop_signal();         // 0, SIGINT, SIGTERM or SIGHUP
void clear_stop_signal();  // chat: the answer has been stopped, go on
void throw_if_stopped();   // throws Stopped
int stop_exit_code();      // 130, 143, 129; 1 when nothing was signalled

}  // namespace dodeca::runtime::cli
