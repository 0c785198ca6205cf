/* A library to preload (LD_PRELOAD) that makes the disk of a test fail. It counts the calls that change files below one
 * folder and breaks the one that it is told to.
 *
 *   FAULTS_FOLDER   absolute path; calls on other files pass uncounted
 *   FAULTS_CALLS    letters of what is counted: o open for writing, w write, s sync, r rename, l link, u unlink (default: all)
 *   FAULTS_AT       the call, from 1, at which something happens; 0: never
 *   FAULTS_WHAT     an errno: the call fails with it. "short": a write writes half of its bytes. "kill": SIGKILL instead
 *   FAULTS_LASTS    1: all calls of its kind fail from there on
 *   FAULTS_SEEN     file to which the letters of all calls are written at exit
 *   FAULTS_SHADOW   folder that keeps what a power cut would leave of FAULTS_FOLDER: INODE, the bytes of a file at its
 *                   last sync; "names", lines "KIND INODE NAME" of the folder at its last sync (KIND: f file, d folder);
 *                   "names-INODE" of a folder in it. Made before by the test.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int count;
static char seen[1 << 16];
static size_t n_seen;
static char broken; /* the kind that fails from now on */

static const char* setting(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

static int inside(const char* path) {
  const char* folder = setting("FAULTS_FOLDER");
  const size_t n = strlen(folder);
  return n > 0 && strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static int path_of(int fd, char* path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, size - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return 1;
}

static int fd_inside(int fd) {
  char path[4096];
  return path_of(fd, path, sizeof path) && inside(path);
}

/* What is to happen to this call: 0 nothing, -1 a short write, else an errno. */
static int verdict(char kind) {
  const char* calls = setting("FAULTS_CALLS");
  pthread_mutex_lock(&lock);
  if (n_seen < sizeof seen) seen[n_seen++] = kind;
  pthread_mutex_unlock(&lock);
  if (*calls && !strchr(calls, kind)) return 0;
  pthread_mutex_lock(&lock);
  const int hit = ++count == atoi(setting("FAULTS_AT")) || broken == kind;
  if (hit && atoi(setting("FAULTS_LASTS"))) broken = kind;
  pthread_mutex_unlock(&lock);
  if (!hit) return 0;
  const char* what = setting("FAULTS_WHAT");
  if (strcmp(what, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(what, "short") == 0) return kind == 'w' ? -1 : 0;
  return atoi(what);
}

static int refused(char kind) {
  const int error = verdict(kind);
  if (error > 0) errno = error;
  return error > 0;
}

/* ---- what a power cut would leave ---- */

static void shadow_path(char* path, size_t size, unsigned long long inode) {
  snprintf(path, size, "%s/%llu", setting("FAULTS_SHADOW"), inode);
}

static void keep_bytes(int fd) {
  struct stat status;
  char path[4096], own[64];
  if (!*setting("FAULTS_SHADOW") || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
  shadow_path(path, sizeof path, status.st_ino);
  snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
  const int from = REAL(open)(own, O_RDONLY), to = REAL(open)(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  static char buffer[1 << 16];
  pthread_mutex_lock(&lock);
  for (ssize_t n; (n = read(from, buffer, sizeof buffer)) > 0;)
    if (REAL(write)(to, buffer, (size_t)n) != n) abort();
  pthread_mutex_unlock(&lock);
  close(from);
  close(to);
}

/* Files under their synced names stay open, so that their inode numbers are given to no other file. deep: those of the
 * folders in it too, as at the start. */
static void keep_names(const char* of, int deep) {
  char path[4096];
  struct stat status;
  if (!*setting("FAULTS_SHADOW") || stat(of, &status) != 0) return;
  if (strcmp(of, setting("FAULTS_FOLDER")) == 0)
    snprintf(path, sizeof path, "%s/names", setting("FAULTS_SHADOW"));
  else
    snprintf(path, sizeof path, "%s/names-%llu", setting("FAULTS_SHADOW"), (unsigned long long)status.st_ino);
  FILE* names = fopen(path, "w");
  DIR* folder = opendir(of);
  for (struct dirent* entry; folder && names && (entry = readdir(folder));) {
    if ((entry->d_type != DT_REG && entry->d_type != DT_DIR) || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    const char kind = entry->d_type == DT_DIR ? 'd' : 'f';
    fprintf(names, "%c %llu %s\n", kind, (unsigned long long)entry->d_ino, entry->d_name);
    snprintf(path, sizeof path, "%s/%s", of, entry->d_name);
    REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (deep && kind == 'd') keep_names(path, deep);
  }
  if (folder) closedir(folder);
  if (names) fclose(names);
}

static void forget_bytes(int fd) { /* of a file that was just made and has a number that another had */
  struct stat status;
  char path[4096];
  if (!*setting("FAULTS_SHADOW") || fstat(fd, &status) != 0) return;
  shadow_path(path, sizeof path, status.st_ino);
  REAL(unlink)(path);
}

__attribute__((constructor)) static void at_start(void) { keep_names(setting("FAULTS_FOLDER"), 1); }

__attribute__((destructor)) static void at_end(void) {
  if (!*setting("FAULTS_SEEN")) return;
  const int fd = REAL(open)(setting("FAULTS_SEEN"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (REAL(write)(fd, seen, n_seen) < 0) abort();
  close(fd);
}

/* ---- the calls ---- */

static int opened(const char* name, const char* path, int flags, mode_t mode) {
  int (*real)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, name);
  const int writes = (flags & O_ACCMODE) != O_RDONLY && inside(path);
  struct stat before;
  const int is_new = writes && stat(path, &before) != 0;
  if (writes && refused('o')) return -1;
  const int fd = real(path, flags, mode);
  if (fd >= 0 && is_new) forget_bytes(fd);
  return fd;
}

#define OPEN(name)                                     \
  int name(const char* path, int flags, ...) {         \
    va_list rest;                                      \
    va_start(rest, flags);                             \
    const mode_t mode = (mode_t)va_arg(rest, unsigned); \
    va_end(rest);                                      \
    return opened(#name, path, flags, mode);           \
  }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void* data, size_t n) {
  const int what = fd_inside(fd) ? verdict('w') : 0;
  if (what > 0) return errno = what, -1;
  return REAL(write)(fd, data, what < 0 && n > 1 ? n / 2 : n);
}

static ssize_t written_at(const char* name, int fd, const void* data, size_t n, off64_t at) {
  ssize_t (*real)(int, const void*, size_t, off64_t) = (ssize_t(*)(int, const void*, size_t, off64_t))dlsym(RTLD_NEXT, name);
  const int what = fd_inside(fd) ? verdict('w') : 0;
  if (what > 0) return errno = what, -1;
  return real(fd, data, what < 0 && n > 1 ? n / 2 : n, at);
}
ssize_t pwrite(int fd, const void* data, size_t n, off_t at) { return written_at("pwrite", fd, data, n, at); }
ssize_t pwrite64(int fd, const void* data, size_t n, off64_t at) { return written_at("pwrite64", fd, data, n, at); }

/* The disk itself is not waited for: the shadow is what counts. */
static int synced(const char* name, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  if (!fd_inside(fd)) return real(fd);
  if (refused('s')) return -1;
  struct stat status;
  char path[4096];
  if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) && path_of(fd, path, sizeof path))
    keep_names(path, 0);
  else
    keep_bytes(fd);
  return 0;
}
int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

int rename(const char* from, const char* to) {
  if (inside(to) && refused('r')) return -1;
  return REAL(rename)(from, to);
}
int link(const char* from, const char* to) {
  if (inside(to) && refused('l')) return -1;
  return REAL(link)(from, to);
}
int unlink(const char* path) {
  if (inside(path) && refused('u')) return -1;
  return REAL(unlink)(path);
}
int remove(const char* path) {
  if (inside(path) && refused('u')) return -1;
  return REAL(remove)(path);
}
