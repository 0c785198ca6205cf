// The machines and cards of bench/machines, compiled in: an installed program needs no file.
//
// A machine is called for by its name, and by what is different about it:
//   epyc-9554   2xepyc-9554   epyc-9554:nps4   threadripper-pro-7975wx:mt5600   epyc-9654:ch8:ram384   epyc-9965:read275
// sockets; memory nodes of a socket; MT/s of the memory; channels of a socket that have memory; GiB of memory; GB/s that
// all cores read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/predict/machine_file.hpp"

namespace dodeca::runtime::predict {

std::vector<std::string> machine_names();  // in alphabetical order
std::vector<std::string> card_names();
const Entries& catalogue_entries();

// By its name or, where the text ends in ".json" or has a "/", by its file; what is different stands behind it in both
// cases. Throws Error{kBadRequest} naming what there is, and Error{kBadFile}.
MachineSpec find_machine(std::string_view text);
// A card has nothing that is different.
CardSpec find_card(std::string_view text);

// The file that find_machine() or find_card() would read: "mine.json" of "2xmine.json:nps4"; empty for a name.
std::string_view machine_file(std::string_view text);
std::string_view card_file(std::string_view text);

// The text of bench/machines/published.json: what others have measured.
std::string_view published_text();

}  // namespace dodeca::runtime::predict
