// Files whose names the program chose and not the user: what lies beside a result while it is being made (.partial, its
// log, .state, the errors of a batch). Somebody else may have put something under such a name, in a folder that others
// can write: a link would lead the program to write into a file of their choice.
#pragma once

#include <filesystem>

namespace dodeca::runtime {

// Opens with these flags of open(2) and makes what is not there. Never through a symbolic link; Error{kIo} for what is no
// regular file or has other names too (hard links). The caller closes the descriptor.
int open_own_file(const std::filesystem::path& path, int flags);
// The same refusal, for a file that is read, or replaced as a whole. A file that is not there is fine.
void check_own_file(const std::filesystem::path& path);

}  // namespace dodeca::runtime
