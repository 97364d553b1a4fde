/* Counts the calls with which a process changes what is below a folder, writes each down, and lets one of them go wrong.
 *
 * Preloaded before libc, whose calls it stands in for; silent until `crash_arm`, and then for ever about what is elsewhere. A flush is only counted: who is killed loses
 * nothing of what the kernel has, and whether a flush was called at the right moment is read from the log.
 * What goes through a mapping is no call, and is not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, KILL, TORN, FAIL, SHORT, FULL };  /* the same in shim.py */
enum { GO, FAILED, HALF, HALF_THEN_KILL };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static int action, error_number, log_to = -1;
static long at, count;

void crash_note(const char *text) {
    char line[2 * PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s\n", text);
    if (log_to >= 0) syscall(SYS_write, log_to, line, (size_t)length);
}

/* Begins to count below a folder; call number `which`, from 1, goes wrong. */
void crash_arm(const char *folder, long which, int how, int error, int log) {
    snprintf(root, sizeof root, "%s", folder);
    at = which, action = how, error_number = error, log_to = log, count = 0;
}

static int below(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (path[length] == '/' || path[length] == 0);
}

static void of_descriptor(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
}

static void of_name(int folder, const char *name, char *path) {
    char base[PATH_MAX] = "";
    if (name[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) base[0] = 0;
        } else {
            of_descriptor(folder, base);
        }
    }
    snprintf(path, PATH_MAX, "%.*s%s%s", PATH_MAX / 2, base, name[0] == '/' ? "" : "/", name);
}

/* Counts a call, and says what becomes of it. `takes_room` tells what a full disk refuses. */
static int judge(const char *what, const char *path, const char *other, int takes_room) {
    if (!root[0] || !(below(path) || (other && below(other)))) return GO;
    int verdict = GO;
    pthread_mutex_lock(&lock);
    long number = ++count;
    char line[2 * PATH_MAX + 64];
    snprintf(line, sizeof line, "%s\t%s\t%s", what, path, other ? other : "");
    crash_note(line);
    if (action == KILL && number == at) kill(getpid(), SIGKILL);
    if (action == FAIL && number == at) errno = error_number, verdict = FAILED;
    if (action == FULL && number >= at && takes_room) errno = ENOSPC, verdict = FAILED;
    if (action == SHORT && number == at) verdict = HALF;
    if (action == TORN && number == at) verdict = HALF_THEN_KILL;
    pthread_mutex_unlock(&lock);
    return verdict;
}

static int judge_descriptor(const char *what, int descriptor, int takes_room) {
    if (!root[0]) return GO;
    char path[PATH_MAX];
    of_descriptor(descriptor, path);
    return judge(what, path, NULL, takes_room);
}

static int judge_name(const char *what, int folder, const char *name, int takes_room) {
    if (!root[0]) return GO;
    char path[PATH_MAX];
    of_name(folder, name, path);
    return judge(what, path, NULL, takes_room);
}

static int judge_names(const char *what, int from, const char *name, int to, const char *other, int takes_room) {
    if (!root[0]) return GO;
    char path[PATH_MAX], second[PATH_MAX];
    of_name(from, name, path);
    of_name(to, other, second);
    return judge(what, path, second, takes_room);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* --- making and emptying files --- */

static int changes(int folder, const char *name, int flags) {
    if ((flags & O_TMPFILE) == O_TMPFILE || flags & O_TRUNC) return 1;
    struct stat status;
    return flags & O_CREAT && fstatat(folder, name, &status, 0) != 0;
}

#define OPEN(symbol) \
    int symbol(const char *name, int flags, ...) { \
        REAL(int, #symbol, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        if (root[0] && changes(AT_FDCWD, name, flags) && judge_name("open", AT_FDCWD, name, 1) == FAILED) return -1; \
        return real(name, flags, mode); \
    }
#define OPENAT(symbol) \
    int symbol(int folder, const char *name, int flags, ...) { \
        REAL(int, #symbol, int, const char *, int, ...); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        if (root[0] && changes(folder, name, flags) && judge_name("open", folder, name, 1) == FAILED) return -1; \
        return real(folder, name, flags, mode); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(symbol) \
    FILE *symbol(const char *name, const char *mode) { \
        REAL(FILE *, #symbol, const char *, const char *); \
        if (mode[0] != 'r' && judge_name("open", AT_FDCWD, name, 1) == FAILED) return NULL; \
        return real(name, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* --- content --- */

#define WRITE(symbol, parameters, types, whole, half) \
    ssize_t symbol parameters { \
        REAL(ssize_t, #symbol, types); \
        int verdict = judge_descriptor("write", descriptor, 1); \
        if (verdict == FAILED) return -1; \
        if (verdict == GO || size < 2) return real whole; \
        ssize_t written = real half; \
        if (verdict == HALF_THEN_KILL) kill(getpid(), SIGKILL); \
        return written; \
    }
#define TYPES_WRITE int, const void *, size_t
#define TYPES_PWRITE int, const void *, size_t, off_t
WRITE(write, (int descriptor, const void *from, size_t size), TYPES_WRITE, (descriptor, from, size), (descriptor, from, size / 2))
WRITE(pwrite, (int descriptor, const void *from, size_t size, off_t where), TYPES_PWRITE,
      (descriptor, from, size, where), (descriptor, from, size / 2, where))
WRITE(pwrite64, (int descriptor, const void *from, size_t size, off_t where), TYPES_PWRITE,
      (descriptor, from, size, where), (descriptor, from, size / 2, where))

/* Of several pieces a short write takes the first alone. */
#define TYPES_WRITEV int, const struct iovec *, int
#define TYPES_PWRITEV int, const struct iovec *, int, off_t
WRITE(writev, (int descriptor, const struct iovec *from, int size), TYPES_WRITEV, (descriptor, from, size), (descriptor, from, 1))
WRITE(pwritev, (int descriptor, const struct iovec *from, int size, off_t where), TYPES_PWRITEV,
      (descriptor, from, size, where), (descriptor, from, 1, where))
WRITE(pwritev64, (int descriptor, const struct iovec *from, int size, off_t where), TYPES_PWRITEV,
      (descriptor, from, size, where), (descriptor, from, 1, where))

#define TYPES_SENDFILE int, int, off_t *, size_t
WRITE(sendfile, (int descriptor, int from, off_t *where, size_t size), TYPES_SENDFILE,
      (descriptor, from, where, size), (descriptor, from, where, size / 2))
WRITE(sendfile64, (int descriptor, int from, off_t *where, size_t size), TYPES_SENDFILE,
      (descriptor, from, where, size), (descriptor, from, where, size / 2))
#define TYPES_COPY int, off_t *, int, off_t *, size_t, unsigned
WRITE(copy_file_range, (int from, off_t *where, int descriptor, off_t *to, size_t size, unsigned flags), TYPES_COPY,
      (from, where, descriptor, to, size, flags), (from, where, descriptor, to, size / 2, flags))

/* --- calls that name a descriptor --- */

#define DESCRIPTOR(symbol, what, takes_room, parameters, types, whole) \
    int symbol parameters { \
        REAL(int, #symbol, types); \
        return judge_descriptor(what, descriptor, takes_room) == FAILED ? -1 : real whole; \
    }
#define TYPES_LENGTH int, off_t
#define TYPES_FALLOCATE int, int, off_t, off_t
#define TYPES_TIMES int, const struct timespec *
#define TYPES_MODE int, mode_t
DESCRIPTOR(ftruncate, "truncate", 0, (int descriptor, off_t size), TYPES_LENGTH, (descriptor, size))
DESCRIPTOR(ftruncate64, "truncate", 0, (int descriptor, off_t size), TYPES_LENGTH, (descriptor, size))
DESCRIPTOR(fallocate, "allocate", 1, (int descriptor, int mode, off_t from, off_t size), TYPES_FALLOCATE, (descriptor, mode, from, size))
DESCRIPTOR(fallocate64, "allocate", 1, (int descriptor, int mode, off_t from, off_t size), TYPES_FALLOCATE, (descriptor, mode, from, size))
DESCRIPTOR(futimens, "times", 0, (int descriptor, const struct timespec times[2]), TYPES_TIMES, (descriptor, times))
DESCRIPTOR(fchmod, "mode", 0, (int descriptor, mode_t mode), TYPES_MODE, (descriptor, mode))

#define TYPES_POSIX int, off_t, off_t
#define POSIX_FALLOCATE(symbol) \
    int symbol(int descriptor, off_t from, off_t size) { \
        REAL(int, #symbol, TYPES_POSIX); \
        return judge_descriptor("allocate", descriptor, 1) == FAILED ? errno : real(descriptor, from, size); \
    }
POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

#define FLUSH(symbol) \
    int symbol(int descriptor) { \
        REAL(int, #symbol, int); \
        if (!root[0]) return real(descriptor); \
        char path[PATH_MAX]; \
        of_descriptor(descriptor, path); \
        if (!below(path)) return real(descriptor); \
        return judge("flush", path, NULL, 0) == FAILED ? -1 : 0; \
    }
FLUSH(fsync)
FLUSH(fdatasync)

/* --- calls that name a file --- */

static int is_there(int folder, const char *name) {
    struct stat status;
    return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* `there` is whether the call changes what is there, or makes what is not; else it fails by itself, and changes nothing. */
#define NAME(symbol, what, takes_room, parameters, types, folder, whole, there) \
    int symbol parameters { \
        REAL(int, #symbol, types); \
        if (!root[0] || is_there(folder, name) != there) return real whole; \
        return judge_name(what, folder, name, takes_room) == FAILED ? -1 : real whole; \
    }
#define TYPES_NAME const char *
#define TYPES_AT_NAME int, const char *, int
#define TYPES_NAME_MODE const char *, mode_t
#define TYPES_AT_NAME_MODE int, const char *, mode_t
#define TYPES_NAME_LENGTH const char *, off_t
#define TYPES_AT_TIMES int, const char *, const struct timespec *, int
#define TYPES_AT_MODE int, const char *, mode_t, int
NAME(unlink, "unlink", 0, (const char *name), TYPES_NAME, AT_FDCWD, (name), 1)
NAME(remove, "unlink", 0, (const char *name), TYPES_NAME, AT_FDCWD, (name), 1)
NAME(rmdir, "unlink", 0, (const char *name), TYPES_NAME, AT_FDCWD, (name), 1)
NAME(unlinkat, "unlink", 0, (int folder, const char *name, int flags), TYPES_AT_NAME, folder, (folder, name, flags), 1)
NAME(mkdir, "mkdir", 1, (const char *name, mode_t mode), TYPES_NAME_MODE, AT_FDCWD, (name, mode), 0)
NAME(mkdirat, "mkdir", 1, (int folder, const char *name, mode_t mode), TYPES_AT_NAME_MODE, folder, (folder, name, mode), 0)
NAME(truncate, "truncate", 0, (const char *name, off_t size), TYPES_NAME_LENGTH, AT_FDCWD, (name, size), 1)
NAME(truncate64, "truncate", 0, (const char *name, off_t size), TYPES_NAME_LENGTH, AT_FDCWD, (name, size), 1)
NAME(chmod, "mode", 0, (const char *name, mode_t mode), TYPES_NAME_MODE, AT_FDCWD, (name, mode), 1)
NAME(fchmodat, "mode", 0, (int folder, const char *name, mode_t mode, int flags), TYPES_AT_MODE, folder, (folder, name, mode, flags), 1)
NAME(utimensat, "times", 0, (int folder, const char *name, const struct timespec times[2], int flags), TYPES_AT_TIMES, folder,
     (folder, name, times, flags), 1)

#define NAMES(symbol, what, takes_room, parameters, types, from, to, whole) \
    int symbol parameters { \
        REAL(int, #symbol, types); \
        return judge_names(what, from, name, to, other, takes_room) == FAILED ? -1 : real whole; \
    }
#define TYPES_NAMES const char *, const char *
#define TYPES_AT_NAMES int, const char *, int, const char *
#define TYPES_AT_NAMES_FLAGS int, const char *, int, const char *, unsigned
NAMES(rename, "rename", 0, (const char *name, const char *other), TYPES_NAMES, AT_FDCWD, AT_FDCWD, (name, other))
NAMES(renameat, "rename", 0, (int from, const char *name, int to, const char *other), TYPES_AT_NAMES, from, to, (from, name, to, other))
NAMES(renameat2, "rename", 0, (int from, const char *name, int to, const char *other, unsigned flags), TYPES_AT_NAMES_FLAGS, from, to,
      (from, name, to, other, flags))
NAMES(link, "link", 1, (const char *name, const char *other), TYPES_NAMES, AT_FDCWD, AT_FDCWD, (name, other))
NAMES(linkat, "link", 1, (int from, const char *name, int to, const char *other, int flags), TYPES_AT_NAMES_FLAGS, from, to,
      (from, name, to, other, (unsigned)flags))
NAMES(symlink, "symlink", 1, (const char *name, const char *other), TYPES_NAMES, AT_FDCWD, AT_FDCWD, (name, other))
