// The folder that holds a file, and its names on the disk.
#pragma once

#include <filesystem>

namespace dodeca::runtime {

// "." for a bare name.
std::filesystem::path folder_of(const std::filesystem::path& path);

// Where a write to `path` ends up: what a symbolic link names, there or not. The path itself where links go in a circle.
std::filesystem::path behind_links(const std::filesystem::path& path);

// Makes the names in a file's folder (new, renamed and removed files) survive a power cut. Folders that can be written
// but not read, and file systems that cannot sync folders, decide for themselves. Error{kIo} when the disk fails.
void sync_folder_of(const std::filesystem::path& path);

}  // namespace dodeca::runtime
