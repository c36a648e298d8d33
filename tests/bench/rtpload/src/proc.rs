//! CPU and memory of a process and its descendants, from /proc.

use std::collections::HashMap;

pub fn tree(roots: &[i32]) -> Vec<i32> {
    let mut kids: HashMap<i32, Vec<i32>> = HashMap::new();
    for e in std::fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(p) = e.file_name().to_string_lossy().parse::<i32>()
            && let Ok(s) = std::fs::read_to_string(format!("/proc/{p}/stat"))
            && let Some(r) = s.rfind(')')
        {
            let f: Vec<&str> = s[r + 2..].split(' ').collect();
            kids.entry(f[1].parse().unwrap_or(0)).or_default().push(p);
        }
    }
    let mut out = vec![];
    let mut q: Vec<i32> = roots.to_vec();
    while let Some(p) = q.pop() {
        if !out.contains(&p) {
            out.push(p);
            if let Some(k) = kids.get(&p) {
                q.extend(k);
            }
        }
    }
    out
}
pub fn cpu_s(pids: &[i32]) -> f64 {
    let mut t = 0u64;
    for p in pids {
        if let Ok(s) = std::fs::read_to_string(format!("/proc/{p}/stat"))
            && let Some(r) = s.rfind(')')
        {
            let f: Vec<&str> = s[r + 2..].split(' ').collect();
            t += f[11].parse::<u64>().unwrap_or(0) + f[12].parse::<u64>().unwrap_or(0);
        }
    }
    t as f64 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
}
pub fn mem_kb(pids: &[i32]) -> (u64, u64) {
    let (mut rss, mut pss) = (0, 0);
    for p in pids {
        if let Ok(s) = std::fs::read_to_string(format!("/proc/{p}/smaps_rollup")) {
            for l in s.lines() {
                let v = || {
                    l.split_whitespace()
                        .nth(1)
                        .and_then(|x| x.parse::<u64>().ok())
                        .unwrap_or(0)
                };
                if l.starts_with("Rss:") {
                    rss += v()
                }
                if l.starts_with("Pss:") {
                    pss += v()
                }
            }
        }
    }
    (rss, pss)
}
