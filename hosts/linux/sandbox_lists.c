/* The lists of system calls.  What stands here is used; a test that runs into the sandbox tells what is
 * missing.  None lets a thread execute a program, make memory executable, look into another process, or make
 * an io_uring (whose requests no filter sees; those that are there take reads, writes and flushes only,
 * disk_uring.c). */
#include "hosts/linux/sandbox_parts.h"

#include <asm/ioctls.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define ANY(name) { SYS_##name, 0, 0, 0 }
#define IF(name, arg, mask, value) { SYS_##name, arg, (u32)(mask), (u32)(value) }
#define LIST(name, calls) static const struct call_list name = { calls, countof(calls) }

enum { IOCTL_TYPE = 0xff00, KVM = KVMIO << 8, FS = 0x9400, BLOCK = 0x1200 };

static const struct call all_calls[] = {
	/* time, waiting, other threads */
	ANY(futex), ANY(clock_gettime), ANY(gettimeofday), ANY(time), ANY(clock_nanosleep), ANY(nanosleep),
	ANY(restart_syscall), ANY(sched_yield), ANY(getcpu), ANY(poll), ANY(ppoll), ANY(timerfd_settime),
	IF(tgkill, 0, ~0u, CALL_SELF), ANY(getpid), ANY(gettid), ANY(set_robust_list), ANY(rseq), ANY(exit),
	ANY(exit_group), IF(prctl, 0, ~0u, PR_SET_NAME), IF(prctl, 0, ~0u, PR_SET_VMA), ANY(sched_getaffinity), ANY(membarrier),
	/* what is open */
	ANY(read), ANY(write), ANY(readv), ANY(writev), ANY(pread64), ANY(pwrite64), ANY(preadv), ANY(pwritev),
	ANY(preadv2), ANY(pwritev2), ANY(close), ANY(epoll_ctl), ANY(eventfd2), ANY(fdatasync), ANY(fsync),
	ANY(fallocate), ANY(io_uring_enter),
	/* memory, none of it code */
	IF(mmap, 2, PROT_EXEC, 0), IF(mprotect, 2, PROT_EXEC, 0), ANY(munmap), ANY(mremap), ANY(madvise), ANY(brk),
	ANY(getrandom),
	/* signals; a terminal is given back by whoever dies */
	ANY(rt_sigprocmask), ANY(rt_sigreturn), ANY(rt_sigtimedwait), ANY(sigaltstack),
	IF(ioctl, 1, ~7u, TCGETS - 1),
};
LIST(all, all_calls);

static const struct call vcpu_calls[] = {
	IF(ioctl, 1, IOCTL_TYPE, KVM),
};
LIST(vcpu, vcpu_calls);

static const struct call disk_calls[] = {
	IF(ioctl, 1, IOCTL_TYPE, BLOCK),
};
LIST(disk, disk_calls);

static const struct call loop_calls[] = {
	IF(ioctl, 1, IOCTL_TYPE, KVM), IF(ioctl, 1, IOCTL_TYPE, BLOCK), IF(ioctl, 1, IOCTL_TYPE, FS),
	IF(ioctl, 1, ~0u, TIOCGWINSZ), IF(ioctl, 1, ~0u, TIOCGPGRP), IF(ioctl, 1, ~0u, FIONREAD),
	IF(ioctl, 1, ~0u, FIONBIO),
	/* other threads, each of which enters a list of its own or keeps this one */
	IF(clone, 0, CLONE_THREAD, CLONE_THREAD), ANY(sched_setscheduler), ANY(sched_getscheduler),
	ANY(sched_getparam), ANY(sched_setaffinity), IF(seccomp, 0, ~0u, SECCOMP_SET_MODE_FILTER),
	IF(prctl, 0, ~0u, PR_SET_NO_NEW_PRIVS),
	ANY(epoll_wait), ANY(epoll_pwait), ANY(select), ANY(pselect6), ANY(rt_sigaction), ANY(getpgrp),
	ANY(getuid), ANY(geteuid), ANY(getgid), ANY(getegid), ANY(uname), ANY(sysinfo), ANY(getrusage), ANY(umask),
	/* saving, the kernel's unpacking, what is left behind at the end */
	ANY(open), ANY(openat), ANY(stat), ANY(lstat), ANY(fstat), ANY(newfstatat), ANY(statx), ANY(statfs), ANY(fstatfs),
	ANY(access), ANY(faccessat), ANY(faccessat2), ANY(readlink), ANY(readlinkat), ANY(getcwd), ANY(lseek),
	ANY(getdents64), ANY(mkdir), ANY(mkdirat), ANY(rmdir), ANY(unlink), ANY(unlinkat), ANY(rename), ANY(renameat),
	ANY(renameat2), ANY(ftruncate), ANY(flock), ANY(fchmod), ANY(fchmodat), ANY(utimensat), ANY(sendfile),
	ANY(copy_file_range), ANY(fadvise64), ANY(memfd_create), ANY(msync), ANY(fcntl), ANY(dup), ANY(dup2), ANY(dup3),
	/* the control socket's clients */
	ANY(accept4), ANY(accept), ANY(recvfrom), ANY(sendto), ANY(recvmsg), ANY(sendmsg), ANY(shutdown),
	ANY(getsockopt), ANY(setsockopt), ANY(getsockname), ANY(getpeername),
};
LIST(loop, loop_calls);

static const struct call net_calls[] = {
	IF(socket, 0, ~0u, AF_INET), IF(socket, 0, ~0u, AF_INET6), ANY(bind), ANY(connect), ANY(listen),
	/* what becomes a keeper (keeper_process.c): a process like this one, with a loop of its own; its socket was made before */
	IF(clone, 0, ~0u, CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD), ANY(setsid), IF(socketpair, 0, ~0u, AF_UNIX),
	ANY(epoll_create1), ANY(timerfd_create), ANY(signalfd4),
};
LIST(net, net_calls);

const struct call_list *const sandbox_lists[][CALL_LISTS] = {
	[SANDBOX_VCPU] = { &vcpu, &all },
	[SANDBOX_DISK] = { &disk, &all },
	[SANDBOX_LOOP] = { &all, &loop },
	[SANDBOX_LOOP_NET] = { &all, &loop, &net },
};
