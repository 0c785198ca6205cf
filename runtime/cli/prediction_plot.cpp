// Two diagrams above each other: generated tokens and prompts against the context.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/cli/prediction_report.hpp"

namespace dodeca::runtime::cli {
namespace {

using predict::DepthPoint;

constexpr double kWidth = 760, kHeight = 300, kLeft = 70, kRight = 200, kTop = 30, kBottom = 40;
constexpr std::array kColours = {"#c0392b", "#2471a3", "#1e8449", "#af601a",
                                 "#6c3483", "#117864", "#7b7d7d", "#b7950b"};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else
      out += c;
  }
  return out;
}

// 1, 2 or 5 times a power of ten, so that at most six lines are there.
double step_of(double most) {
  const double power = std::pow(10, std::floor(std::log10(most / 6)));
  for (const double factor : {1, 2, 5}) {
    if (most / (factor * power) <= 6) return factor * power;
  }
  return 10 * power;
}

struct Diagram {
  double top = 0;
  const char* title = "";
  double DepthPoint::*value = &DepthPoint::tokens_per_s;
};

std::string draw(const Diagram& d, const std::vector<PredictedPlan>& plans) {
  double most = 1e-9, deepest = 1;
  for (const PredictedPlan& plan : plans) {
    for (const DepthPoint& point : plan.prediction.points) {
      most = std::max(most, point.*d.value);
      deepest = std::max(deepest, static_cast<double>(point.depth));
    }
  }
  const double step = step_of(most), high = std::ceil(most / step) * step;
  const double bottom = d.top + kHeight - kBottom, right = kWidth - kRight;
  const auto x = [&](double depth) { return kLeft + (right - kLeft) * depth / deepest; };
  const auto y = [&](double value) { return bottom - (bottom - d.top - kTop) * value / high; };
  std::string svg = fmt::format("<text x=\"{}\" y=\"{}\" font-weight=\"bold\">{}</text>\n", kLeft, d.top + 18, d.title);
  for (double value = 0; value <= high + step / 2; value += step)
    svg += fmt::format(
        "<path d=\"M{0} {1:.1f}H{2}\" stroke=\"#ddd\"/><text x=\"{3}\" y=\"{4:.1f}\" "
        "text-anchor=\"end\">{5:g}</text>\n",
        kLeft, y(value), right, kLeft - 6, y(value) + 4, value);
  for (const DepthPoint& point : plans.front().prediction.points)
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                       x(static_cast<double>(point.depth)), bottom + 18, point.depth);
  for (std::size_t i = 0; i < plans.size(); ++i) {
    std::string path;
    for (const DepthPoint& point : plans[i].prediction.points)
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x(static_cast<double>(point.depth)),
                          y(point.*d.value));
    const char* colour = kColours[i % kColours.size()];
    svg += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n", path, colour);
    svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" fill=\"{}\">{}</text>\n", right + 10,
                       d.top + kTop + 12 + 16 * static_cast<double>(i), colour,
                       escaped(plans[i].prediction.machine.title));
  }
  return svg + fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">tokens in the context</text>\n",
                           (kLeft + right) / 2, bottom + 34);
}

}  // namespace

std::string prediction_plot(const std::string& model, const std::vector<PredictedPlan>& plans) {
  const double height = 2 * kHeight + kTop;
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" font-family=\"sans-serif\" "
             "font-size=\"12\">\n"
             "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
             "<text x=\"{2}\" y=\"20\">{3}: predicted, not measured</text>\n",
             kWidth, height, kLeft, escaped(model)) +
         draw({.top = kTop, .title = "generated tokens per second", .value = &DepthPoint::tokens_per_s}, plans) +
         draw({.top = kTop + kHeight, .title = "prompt tokens per second", .value = &DepthPoint::prompt_per_s}, plans) +
         "</svg>\n";
}

}  // namespace dodeca::runtime::cli
