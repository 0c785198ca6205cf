// What a command reads and what it writes, said before it does either: no result may land on a file that was given to be
// read, on one that belongs to it, or on another result. Files are compared by what they are (device and inode, so that
// links of both kinds are seen through), and those that are not there yet by their folder and name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dodeca::runtime {

class FileRoles {
 public:
  // role: what messages call it, "-m" or "the state of -o". An empty path is none; "-" is standard input, a file where
  // one is redirected there. Two entries of the same role are never in each other's way.
  void reads(const std::filesystem::path& path, std::string role);
  void writes(const std::filesystem::path& path, std::string role);
  // Every file whose name is the stem's and then `tail`, in which '#' stands for digits: "-#-of-#.gguf".
  enum class Against { kAll, kOutputs };  // kOutputs: which of them are written is not known yet, inputs come later
  void writes_numbered(const std::filesystem::path& stem, std::string_view tail, std::string role,
                       Against against = Against::kAll);
  // Standard output and standard error, where they are files.
  void writes_standard_streams();
  // The writer replaces what the reader gave, which is meant: it has been read to its end by then. Likewise of a writer
  // and one that was named after it.
  void may_replace(std::string writer, std::string reader) {
    allowed_.emplace_back(std::move(writer), std::move(reader));
  }
  void add(const FileRoles& other);

  // Error{kBadRequest} naming both roles and files when an output is an input or another output.
  void check() const;

 private:
  struct Identity {
    std::uint64_t device = 0, inode = 0;
    bool operator==(const Identity&) const = default;
  };
  struct Entry {
    std::string role, shown;
    bool is_read = false;
    std::optional<Identity> file, folder;  // what is there already
    std::string name;                      // in the folder; of numbered ones: of the stem
    std::string tail;                      // of numbered ones
    std::vector<Identity> members = {};    // those of them that exist
    Against against = Against::kAll;
  };
  static std::optional<Identity> identity_of(const std::filesystem::path& path);
  static Entry entry_of(const std::filesystem::path& path, std::string role, bool is_read);
  static bool same(const Entry& a, const Entry& b);
  bool allowed(const Entry& writer, const Entry& reader) const;

  std::vector<Entry> entries_;
  std::vector<std::pair<std::string, std::string>> allowed_;
};

// Whether `name` is `stem` and then `tail`, in which '#' stands for one digit or more.
bool is_numbered_name(std::string_view name, std::string_view stem, std::string_view tail);
// The entries of stem's folder that are named so.
std::vector<std::filesystem::path> numbered_files(const std::filesystem::path& stem, std::string_view tail);

}  // namespace dodeca::runtime
