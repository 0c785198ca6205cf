// The formats of all types. Users of rows call codec.hpp.
#pragma once

#include "quant/formats/iq1.hpp"
#include "quant/formats/iq2.hpp"
#include "quant/formats/iq3.hpp"
#include "quant/formats/iq4.hpp"
#include "quant/formats/iq_k.hpp"
#include "quant/formats/k_types.hpp"
#include "quant/formats/legacy.hpp"
#include "quant/formats/plain.hpp"
#include "quant/formats/ternary.hpp"
