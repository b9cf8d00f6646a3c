//! Confines the compiling child: hostile bytes that take over the compiler can use no file, no network and no other process.
//!
//! By seccomp (seccomp(2)) alone: it is in every kernel since 3.17, and a list of the system calls that compiling needs has no
//! place for files or sockets at all, so that rules about them (Landlock) would have nothing left to decide.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

/// The system calls that compiling stdin to stdout needs, those of other C libraries and allocators included. No open, socket,
/// clone or exec: files are those that are open, and there is one thread.
const ALLOWED: [i64; 35] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_ppoll,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Confines this thread, and all that it starts, until it ends. Every other system call fails with EPERM: a compiler that needs
/// one after all reports an error, instead of being killed.
///
/// # Errors
/// This kernel, or this processor, has no seccomp; the thread is not confined.
pub(super) fn confine() -> Result<(), seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    // An abort is a signal to the own process.
    let own = u64::from(std::process::id());
    let to_itself = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own)?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![to_itself])?]);
    let beyond = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, beyond, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    apply_filter(&BpfProgram::try_from(filter)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpStream, UdpSocket};
    use std::process::Command;
    use std::thread;

    use super::*;
    use crate::sandbox::compile::child::produce;
    use crate::sandbox::engine::{self, Purpose};
    use crate::sandbox::tests::guest::Guest;

    #[test]
    fn confined_thread_compiles_and_reaches_nothing() {
        let (component, broken) = (Guest::default().bytes(), b"\0asm\x0d\0\x01\0\xff".to_vec());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let confined = thread::spawn(move || {
            let engine = engine::on_demand(Purpose::Calls).unwrap();
            if let Err(error) = confine() {
                eprintln!("not tested: {error}");
                return;
            }
            assert!(produce(&engine, &component).is_ok());
            assert!(produce(&engine, &broken).is_err());
            let denied = [
                File::open("/proc/self/status").err(),
                TcpStream::connect(address).err(),
                UdpSocket::bind("127.0.0.1:0").err(),
                Command::new("/bin/true").spawn().err(),
                thread::Builder::new().spawn(|| ()).err(),
            ];
            let codes = denied.map(|error| error.and_then(|error| error.raw_os_error()));
            assert_eq!(codes, [Some(libc::EPERM); 5]);
            let other = rustix::process::getppid().unwrap();
            assert!(rustix::process::kill_process(other, rustix::process::Signal::CONT).is_err());
        });
        confined.join().unwrap();
    }
}
