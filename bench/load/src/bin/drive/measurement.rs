//! CPU and memory of the watched processes and of the machine during one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use posthaste_load::Error;
use posthaste_load::processes::{CpuUsage, MachineCpu, ProcessGroup};

/// The server's process groups, and those of generator and receiver.
pub(crate) struct WatchedGroups {
    servers: Vec<ProcessGroup>,
    ours: Vec<ProcessGroup>,
}

impl WatchedGroups {
    /// Reads the `--watch` arguments and adds generator and receiver.
    pub(crate) fn new(watch: &[String], receiver_pid: Option<u32>) -> Result<WatchedGroups, Error> {
        let servers = watch.iter().map(|text| ProcessGroup::parse(text)).collect::<Result<_, _>>()?;
        let mut ours = vec![ProcessGroup { name: "generator".into(), roots: vec![std::process::id()] }];
        ours.extend(receiver_pid.map(|pid| ProcessGroup { name: "receiver".into(), roots: vec![pid] }));
        Ok(WatchedGroups { servers, ours })
    }

    fn cpu(&self) -> Vec<CpuUsage> {
        self.servers.iter().chain(&self.ours).map(ProcessGroup::cpu).collect()
    }
}

/// A measurement that runs until it is finished.
pub(crate) struct Measurement {
    groups: WatchedGroups,
    memory: MemoryWatch,
    started: Instant,
    before: Vec<CpuUsage>,
    machine_before: MachineCpu,
}

/// CPU and memory of one process group.
pub(crate) struct GroupUsage {
    pub(crate) name: String,
    pub(crate) cpu_s: f64,
    pub(crate) sys_s: f64,
    /// The highest proportional set size in KiB; only of the server's groups.
    pub(crate) peak_pss_kb: Option<u64>,
}

/// CPU and memory of one run.
pub(crate) struct Used {
    /// The server's groups, then generator and receiver.
    pub(crate) groups: Vec<GroupUsage>,
    pub(crate) window_s: f64,
    pub(crate) machine_busy_s: f64,
    pub(crate) machine_stolen_s: f64,
}

impl Measurement {
    /// Reads the counters and begins to watch the server's memory.
    pub(crate) fn start(groups: WatchedGroups) -> Measurement {
        let memory = MemoryWatch::start(groups.servers.clone());
        let before = groups.cpu();
        Measurement { memory, started: Instant::now(), machine_before: MachineCpu::now(), before, groups }
    }

    /// Reads the counters again and returns the differences.
    pub(crate) fn finish(self) -> Result<Used, Error> {
        let window_s = self.started.elapsed().as_secs_f64();
        let after = self.groups.cpu();
        let machine = MachineCpu::now();
        let mut peaks = self.memory.finish()?.into_iter();
        let groups = self.groups.servers.iter().chain(&self.groups.ours).zip(self.before.iter().zip(&after));
        let groups = groups.map(|(group, (before, after))| GroupUsage {
            name: group.name.clone(),
            cpu_s: after.total_s() - before.total_s(),
            sys_s: after.sys_s - before.sys_s,
            // The server's groups come first, and there is one peak for each.
            peak_pss_kb: peaks.next(),
        });
        Ok(Used {
            groups: groups.collect(),
            window_s,
            machine_busy_s: machine.busy_s - self.machine_before.busy_s,
            machine_stolen_s: machine.stolen_s - self.machine_before.stolen_s,
        })
    }
}

/// A thread that samples the memory of the server's groups.
struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl MemoryWatch {
    fn start(groups: Vec<ProcessGroup>) -> MemoryWatch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut peaks = vec![0; groups.len()];
            loop {
                let last = stopped.load(Ordering::Relaxed);
                for (peak, group) in peaks.iter_mut().zip(&groups) {
                    *peak = group.pss_kb().max(*peak);
                }
                if last {
                    return peaks;
                }
                // Reading it walks the page tables of a large process, so only every 10 s, and once at the end.
                for _ in 0..100 {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        MemoryWatch { stop, thread }
    }

    fn finish(self) -> Result<Vec<u64>, Error> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the thread that samples memory panicked".into())
    }
}
