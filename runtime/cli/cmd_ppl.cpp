// dodeca ppl: perplexity on a text or on token ids, and divergence from a base model.
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/cli/command.hpp"
#include "runtime/cli/load_model.hpp"
#include "runtime/cli/text_options.hpp"
#include "runtime/eval/logits_file.hpp"
#include "runtime/eval/statistics.hpp"
#include "runtime/eval/windows.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime::cli {
namespace {

using eval::EvalModel;
using eval::packed_row_size;
using eval::Prediction;
using eval::run_windows;
using eval::Windows;

constexpr std::int64_t kPplContext = 512;
constexpr std::int64_t kMinStatistics = 100;  // predictions below which percentiles say nothing

struct PplOptions {
  ModelOptions model;
  std::string text_file, ids_file, base_file;
  bool compare = false, tokens = false, no_bos = false;
  std::int64_t max_chunks = -1;
};

// A prediction whose logits are no numbers would poison every sum behind it.
void check_finite(double value, const Prediction& prediction) {
  if (std::isfinite(value)) return;
  throw Error(ErrorKind::kBadFile,
              fmt::format("the logits after position {} of window {} are NaN or infinite: the model is damaged",
                          prediction.position, prediction.window + 1));
}

// Progress goes to a terminal only where the results do not.
class WindowProgress {
 public:
  WindowProgress(const Console& console, std::int64_t n_windows)
      : bar_(console, "ppl", "windows"), n_windows_(n_windows) {}
  void windows_done(std::int64_t n) {
    if (!stdout_is_terminal() && !bar_.update(static_cast<double>(n), static_cast<double>(n_windows_))) throw Stopped{};
    throw_if_stopped();
  }

 private:
  ProgressBar bar_;
  std::int64_t n_windows_;
};

void print_perplexity(const EvalModel& model, const Windows& windows, WindowProgress& progress,
                      eval::LogitsWriter* base) {
  eval::Perplexity perplexity;
  std::vector<double> nlls;
  std::vector<std::uint16_t> packed;
  const auto row_size = static_cast<std::size_t>(packed_row_size(model.vocab_size));
  run_windows(model, windows, [&](std::span<const Prediction> predictions) {
    nlls.resize(predictions.size());
    if (base != nullptr) packed.resize(predictions.size() * row_size);
    model.parallel(static_cast<std::int64_t>(predictions.size()), [&](std::int64_t i) {
      const auto n = static_cast<std::size_t>(i);
      nlls[n] = eval::negative_log_likelihood(predictions[n].logits, predictions[n].target);
      if (base != nullptr && std::isfinite(nlls[n]))
        eval::pack_row(predictions[n].logits, std::span(packed).subspan(n * row_size, row_size));
    });
    for (std::size_t i = 0; i < predictions.size(); ++i) {
      check_finite(nlls[i], predictions[i]);
      perplexity.add(nlls[i]);
      if (predictions[i].position == windows.n_ctx - 2)
        print_out(fmt::format("[{}]{:.4f},", predictions[i].window + 1, perplexity.value()));
    }
    if (base != nullptr) base->append(packed);
    flush_out();
    progress.windows_done(predictions.back().window);
  });
  if (base != nullptr) base->finish();
  print_out(fmt::format("\nFinal estimate: PPL = {:.4f} +/- {:.5f}\n", perplexity.value(), perplexity.error()));
}

void print_divergence(const EvalModel& model, const Windows& windows, WindowProgress& progress,
                      const eval::LogitsReader& base, const Console& console) {
  eval::DivergenceStatistics statistics;
  std::vector<eval::Divergence> divergences;
  std::vector<std::uint16_t> packed;
  const auto row_size = static_cast<std::size_t>(packed_row_size(model.vocab_size));
  print_out(eval::DivergenceStatistics::chunk_heading());
  run_windows(model, windows, [&](std::span<const Prediction> predictions) {
    divergences.resize(predictions.size());
    packed.resize(predictions.size() * row_size);
    const auto row = [&](std::size_t i) { return std::span(packed).subspan(i * row_size, row_size); };
    for (std::size_t i = 0; i < predictions.size(); ++i)
      base.read_row(predictions[i].window, predictions[i].position - windows.first, row(i));
    model.parallel(static_cast<std::int64_t>(predictions.size()), [&](std::int64_t n) {
      const auto i = static_cast<std::size_t>(n);
      divergences[i] =
          eval::diverge(predictions[i].logits, eval::unpack_row(row(i), model.vocab_size), predictions[i].target);
    });
    for (std::size_t i = 0; i < predictions.size(); ++i) {
      check_finite(divergences[i].nll, predictions[i]);
      statistics.add(divergences[i]);
      if (predictions[i].position == windows.n_ctx - 2) print_out(statistics.chunk_line(predictions[i].window + 1));
    }
    flush_out();
    progress.windows_done(predictions.back().window);
  });
  if (statistics.count() < kMinStatistics) {
    console.warn(fmt::format("{} predictions are too few for statistics; at least {} are wanted", statistics.count(),
                             kMinStatistics));
    return;
  }
  print_out("\n" + statistics.summary());
}

void print_tokens(const EvalModel& model, std::span<const TokenId> ids, const std::optional<Tokenizer>& tokenizer) {
  const auto print = [&](TokenId id, const Json& logprob) {
    const bool has_text = tokenizer && id < tokenizer->vocab_size();
    const Json line = {
        {"id", id}, {"text", has_text ? Json(tokenizer->piece(id, true)) : Json()}, {"logprob", logprob}};
    // A token may be a part of a character: its bytes become U+FFFD.
    print_out(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  };
  eval::require_in_vocabulary(ids, model.vocab_size);  // before anything is printed
  print(ids[0], nullptr);
  if (ids.size() == 1) return;
  const Windows windows{ids, static_cast<std::int64_t>(ids.size()), 1, 0, std::nullopt};
  std::vector<double> nlls;
  run_windows(model, windows, [&](std::span<const Prediction> predictions) {
    nlls.resize(predictions.size());
    model.parallel(static_cast<std::int64_t>(predictions.size()), [&](std::int64_t i) {
      const auto n = static_cast<std::size_t>(i);
      nlls[n] = eval::negative_log_likelihood(predictions[n].logits, predictions[n].target);
    });
    for (std::size_t i = 0; i < predictions.size(); ++i) {
      check_finite(nlls[i], predictions[i]);
      print(predictions[i].target, -nlls[i]);
    }
    throw_if_stopped();
  });
}

// What the tokens call for: ids need no vocabulary, --tokens shows texts when there is one.
std::optional<Tokenizer> tokenizer_for(const PplOptions& o, const Console& console) {
  const bool only_shown = !o.ids_file.empty() && !o.compare, must_have = !o.text_file.empty() && !o.compare;
  if ((only_shown && !o.tokens) || (!must_have && !Tokenizer::available(o.model.model))) return std::nullopt;
  try {
    return open_tokenizer(o.model.model, o.model.override_kv);
  } catch (const Error& error) {
    if (!only_shown) throw;
    console.info(fmt::format("no texts of tokens: {}", error.what()));
    return std::nullopt;
  }
}

PplOptions parse_ppl(std::span<const std::string> args, Console& console) {
  PplOptions o;
  Options options("dodeca ppl", "Perplexity on a text or on token ids; divergence from a base model.",
                  "dodeca ppl -m model.gguf -f wiki.test.raw");
  o.model.add_flags(options);
  options.value("-f,--file", o.text_file,
                "text; windows of -c (default here: 512), their second half scored; -: standard input", "FILE",
                FileUse::kReads);
  options.value("--ids", o.ids_file, "decimal token ids, taken as they are; windows of -c, every prediction scored",
                "FILE", FileUse::kReads);
  options.flag("--tokens", o.tokens, "one sequence, one JSON object per token: id, text, logprob");
  options.value("--kl-divergence-base,--save-all-logits", o.base_file,
                "write the log-probabilities of windows' second halves, or with --kl-divergence compare with them",
                "FILE", FileUse::kWrites);
  options.flag("--kl-divergence", o.compare, "compare with --kl-divergence-base FILE; its tokens are the text");
  options.value("--chunks", o.max_chunks, "at most so many windows (default: all)", {-1, kNoMaximum});
  options.flag("--no-bos", o.no_bos, "never put the beginning-of-text token in front");
  console.add_flags(options);
  options.parse(args);
  o.model.check();
  if (!o.base_file.empty()) refuse_stream("--kl-divergence-base", o.base_file);
  if (o.compare) {
    if (o.base_file.empty()) throw Usage("--kl-divergence needs --kl-divergence-base FILE");
    if (o.tokens) throw Usage("--tokens does not go with --kl-divergence");
  } else {
    if (o.text_file.empty() == o.ids_file.empty()) throw Usage("one of -f TEXT and --ids FILE is needed");
    if (o.tokens && !o.base_file.empty()) throw Usage("--tokens does not go with --kl-divergence-base");
  }
  if (o.max_chunks == 0) throw Usage("--chunks wants at least 1, or -1 for all");
  if (!options.given("-c") && !o.tokens) o.model.ctx_size = kPplContext;
  if (!o.compare && !o.tokens && o.model.ctx_size > 0 && o.model.ctx_size < 4)
    throw Usage(fmt::format("-c {} leaves nothing to predict; at least 4 is wanted", o.model.ctx_size));
  return o;
}

// What is scored: read before the weights are loaded, so that what is wrong with it is said at once.
struct ScoredText {
  std::optional<Tokenizer> tokenizer;
  std::optional<TokenId> bos;
  std::optional<eval::LogitsReader> base;  // with --kl-divergence
  std::vector<TokenId> ids;
  std::int64_t n_ids() const { return std::ssize(ids); }
};

ScoredText read_scored(const PplOptions& o, const Console& console) {
  ScoredText text{.tokenizer = tokenizer_for(o, console), .bos = {}, .base = {}, .ids = {}};
  if (text.tokenizer && text.tokenizer->add_bos() && !o.no_bos) text.bos = text.tokenizer->bos();
  if (o.compare) {
    text.base.emplace(o.base_file);
    text.ids = text.base->header().tokens;
  } else if (!o.ids_file.empty()) {
    text.bos.reset();
    text.ids = parse_ids(read_text_file(o.ids_file), o.ids_file);
  } else {
    std::string bytes = read_text_file(o.text_file);
    if (!bytes.empty() && bytes.back() == '\n') bytes.pop_back();  // as llama.cpp reads -f
    if (text.bos) text.ids.push_back(*text.bos);
    const std::vector<TokenId> encoded = text.tokenizer->encode(bytes, {false, false});
    text.ids.insert(text.ids.end(), encoded.begin(), encoded.end());
  }
  if (text.ids.empty()) throw Error(ErrorKind::kBadRequest, "there are no tokens to score");
  return text;
}

// The windows of `context` tokens that the text has. Throws Error{kBadRequest} for a text that is too short.
Windows cut_windows(const PplOptions& o, const ScoredText& text, std::int64_t context, const Console& console) {
  const std::int64_t n_ids = text.n_ids();
  const bool second_half = o.compare || !o.text_file.empty() || !o.base_file.empty();
  Windows windows{.tokens = text.ids, .n_ctx = context, .n_windows = 0, .first = 0, .bos = text.bos};
  if (second_half && !o.compare && n_ids < 2 * context) {
    throw Error(ErrorKind::kBadRequest,
                fmt::format("the text has {} tokens; windows of {} need at least {}", n_ids, context, 2 * context));
  }
  if (!second_half && n_ids < context) {
    windows.n_ctx = n_ids;
    console.info(fmt::format("{} tokens are less than a window of {}: one window of {}", n_ids, context, n_ids));
  }
  windows.n_windows = n_ids / windows.n_ctx;
  if (o.max_chunks > 0) windows.n_windows = std::min(windows.n_windows, o.max_chunks);
  if (second_half) windows.first = windows.n_ctx / 2;
  if (windows.scored_per_window() < 1)
    throw Error(ErrorKind::kBadRequest, fmt::format("windows of {} tokens leave nothing to predict", windows.n_ctx));
  return windows;
}

// Of one call: the logits of every row, and of the base model's.
std::uint64_t logits_bytes(const PplOptions& o, std::int64_t rows_per_call, std::int64_t vocab_size) {
  const bool packed = o.compare || !o.base_file.empty();
  const std::uint64_t row =
      static_cast<std::uint64_t>(vocab_size) * sizeof(float) +
      (packed ? static_cast<std::uint64_t>(packed_row_size(vocab_size)) * sizeof(std::uint16_t) : 0);
  return static_cast<std::uint64_t>(rows_per_call) * row;
}

void score_windows(const PplOptions& o, const ScoredText& text, const EvalModel& model, const Windows& windows,
                   const Console& console) {
  console.info(fmt::format("{} windows of {} tokens, {} predictions scored in each", windows.n_windows, windows.n_ctx,
                           windows.scored_per_window()));
  WindowProgress progress(console, windows.n_windows);
  if (text.base) {
    if (text.base->header().n_vocab != model.vocab_size) {
      throw Error(ErrorKind::kBadRequest, fmt::format("{} was made with a vocabulary of {} and the model has {}",
                                                      o.base_file, text.base->header().n_vocab, model.vocab_size));
    }
    return print_divergence(model, windows, progress, *text.base, console);
  }
  std::optional<eval::LogitsWriter> writer;
  if (!o.base_file.empty()) {
    eval::LogitsHeader header{windows.n_ctx, model.vocab_size, windows.n_windows, text.ids};
    header.tokens.resize(windows.n_windows * windows.n_ctx);
    writer.emplace(o.base_file, header);
  }
  print_perplexity(model, windows, progress, writer ? &*writer : nullptr);
}

}  // namespace

int cmd_ppl(std::span<const std::string> args) {
  Console console;
  PplOptions o = parse_ppl(args, console);
  const ScoredText text = read_scored(o, console);
  if (text.base) o.model.ctx_size = text.base->header().n_ctx;
  if (o.tokens && o.model.ctx_size < 0) o.model.ctx_size = text.n_ids();

  if (o.model.micro_batch == 0) o.model.micro_batch = 512;  // every row has logits, which must find room
  const std::int64_t rows_per_call = std::min(o.model.batch, o.model.micro_batch);
  Windows windows;
  LoadedModel loaded = load_model(o.model, console, [&](const Plan& plan, std::int64_t context) {
    CommandNeeds needs{.extra_bytes = logits_bytes(o, rows_per_call, plan.config.vocab_size)};
    if (!o.tokens) {
      windows = cut_windows(o, text, context, console);
      needs.n_sequences = eval::sequences_for(windows.n_ctx, rows_per_call, windows.n_windows);
    } else if (text.n_ids() > context) {
      throw Error(ErrorKind::kDoesNotFit, fmt::format("{} tokens do not fit a context of {}; -c {} would", text.n_ids(),
                                                      context, text.n_ids()));
    }
    return needs;
  });
  engine::Session& session = *loaded.session;
  const EvalModel model = eval::make_eval_model(session.executor(), session.workers().prompts(), rows_per_call);
  if (o.tokens)
    print_tokens(model, text.ids, text.tokenizer);
  else
    score_windows(o, text, model, windows, console);
  flush_out();
  return 0;
}

}  // namespace dodeca::runtime::cli
