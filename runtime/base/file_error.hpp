// What the system said of a file, in words that tell what can be done.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {

// No room: on the disk, in the user's quota, below the size limit of the process or of the file system.
bool is_no_room(int error);
// Free bytes of the file system that holds `path`'s folder; UINT64_MAX when it does not tell.
std::uint64_t free_bytes(const std::filesystem::path& path);

// "cannot DOING PATH: reason". Error{kDoesNotFit} when there is no room, with `need` bytes (0: not known) and what there
// is; Error{kIo} otherwise.
Error file_error(int error, std::string_view doing, const std::filesystem::path& path, std::uint64_t need = 0);

}  // namespace dodeca::runtime
