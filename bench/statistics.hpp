// Of the times and rates of repeated measurements.
#pragma once

#include <vector>

namespace dodeca::bench {

double mean(const std::vector<double>& values);           // 0 for none
double sample_stddev(const std::vector<double>& values);  // with n - 1; 0 for fewer than two
double median(std::vector<double> values);                // 0 for none

}  // namespace dodeca::bench
