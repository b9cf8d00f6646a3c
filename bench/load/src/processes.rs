//! CPU seconds and memory of process trees, read from `/proc` (Linux, proc(5)).

use std::collections::{HashMap, HashSet};
use std::fs;

/// USER_HZ, which the Linux user-space ABI fixes at 100.
const TICKS: f64 = 100.0;

/// CPU seconds of a process tree.
#[derive(Clone, Copy, Default, Debug)]
pub struct CpuUsage {
    /// Seconds in user mode.
    pub user_s: f64,
    /// Seconds in the kernel.
    pub sys_s: f64,
}

impl CpuUsage {
    /// Returns user and system seconds together.
    pub fn total_s(&self) -> f64 {
        self.user_s + self.sys_s
    }
}

/// A named set of processes with their live descendants and their reaped children.
#[derive(Clone)]
pub struct ProcessGroup {
    /// The name in the result.
    pub name: String,
    /// The process ids at the root of the trees.
    pub roots: Vec<u32>,
}

impl ProcessGroup {
    /// Reads `name=pid[,pid…]`.
    pub fn parse(text: &str) -> Result<ProcessGroup, String> {
        let (name, pids) = text.split_once('=').ok_or_else(|| format!("`{text}` is not name=pid[,pid]"))?;
        let parse = |pid: &str| pid.trim().parse().map_err(|error| format!("the process id `{pid}`: {error}"));
        Ok(ProcessGroup { name: name.to_owned(), roots: pids.split(',').map(parse).collect::<Result<_, _>>()? })
    }

    /// Returns the CPU seconds used so far.
    pub fn cpu(&self) -> CpuUsage {
        let mut total = CpuUsage::default();
        for stat in tree(&self.roots).into_iter().filter_map(stat_fields) {
            let seconds = |field: usize| stat.get(field).and_then(|ticks| ticks.parse().ok()).unwrap_or(0.0) / TICKS;
            // After the command name: state is field 0, utime 11, stime 12, cutime 13, cstime 14.
            total.user_s += seconds(11) + seconds(13);
            total.sys_s += seconds(12) + seconds(14);
        }
        total
    }

    /// Returns the proportional set size in KiB: shared pages are divided among the processes that map them.
    pub fn pss_kb(&self) -> u64 {
        tree(&self.roots).into_iter().map(pss_kb).sum()
    }
}

/// Returns the fields of `/proc/PID/stat` after the command name, which may hold spaces and brackets.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = text.rsplit_once(')')?;
    Some(after.split_ascii_whitespace().map(str::to_owned).collect())
}

fn tree(roots: &[u32]) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let parent = stat_fields(pid).and_then(|stat| stat.get(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut seen = HashSet::new();
    let mut pending = roots.to_vec();
    while let Some(pid) = pending.pop() {
        if seen.insert(pid) {
            pending.extend(children.get(&pid).into_iter().flatten());
        }
    }
    seen
}

fn pss_kb(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|value| value.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// CPU seconds of the whole machine since it started.
#[derive(Clone, Copy)]
pub struct MachineCpu {
    /// Seconds that were not idle.
    pub busy_s: f64,
    /// Seconds that the hypervisor gave to other machines.
    pub stolen_s: f64,
}

impl MachineCpu {
    /// Reads `/proc/stat`.
    pub fn now() -> MachineCpu {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks = line.split_ascii_whitespace().skip(1).map(|ticks| ticks.parse().unwrap_or(0.0));
        let seconds: Vec<f64> = ticks.map(|ticks: f64| ticks / TICKS).collect();
        let field = |index: usize| seconds.get(index).copied().unwrap_or(0.0);
        // user nice system idle iowait irq softirq steal
        MachineCpu { busy_s: field(0) + field(1) + field(2) + field(5) + field(6), stolen_s: field(7) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_name_and_process_ids() {
        let group = ProcessGroup::parse("server=1,22").unwrap();
        assert_eq!((group.name.as_str(), group.roots), ("server", vec![1, 22]));
        for wrong in ["server", "server=", "server=1,x"] {
            assert!(ProcessGroup::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_includes_this_process() {
        let own = ProcessGroup { name: "own".into(), roots: vec![std::process::id()] };
        assert!(own.pss_kb() > 0);
    }
}
