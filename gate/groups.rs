//! What the kernel's control groups, of either version, count of this container.

use std::fs;
use std::path::Path;

/// How many processes of this container the memory limit has killed, below a root; -1 where that cannot be read.
///
/// A container sees its own group as the top of the tree, with control groups of version 2 in a namespace of its own and
/// with those of version 1 by a mount; in the machine's namespace it sees all of the tree, and the kernel names its place.
pub(super) fn oom_kills(root: &Path) -> i64 {
    let places = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let place = |version: &str| {
        let mut lines = places
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let (_, place) = lines.find(|(controllers, _)| controllers.split(',').any(|name| name == version))?;
        Some(place.trim_start_matches('/').to_owned())
    };
    let read = |top: &str, controller: &str, file: &str| {
        let top = root.join("sys/fs/cgroup").join(top);
        let own = place(controller).map(|place| top.join(place).join(file));
        let text = own
            .into_iter()
            .chain([top.join(file)])
            .find_map(|path| fs::read_to_string(path).ok())?;
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    };
    read("", "", "memory.events")
        .or_else(|| read("memory", "memory", "memory.oom_control"))
        .unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = "low 0\nhigh 0\nmax 37\noom 2\noom_kill 2\noom_group_kill 0\n";
    const CONTROL: &str = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
    const DOCKER: &str = "docker-2f6b.scope";

    #[track_caller]
    fn check(cgroup: &str, files: &[(&str, &str)], kills: i64) {
        let root = tempfile::tempdir().unwrap();
        let own = [("proc/self/cgroup", cgroup)];
        for (name, text) in own.iter().chain(files) {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(oom_kills(root.path()), kills, "{cgroup}: {files:?}");
    }

    #[test]
    fn kills_are_read_from_the_containers_own_group_of_either_version() {
        let scope = format!("0::/system.slice/{DOCKER}\n");
        let below = format!("sys/fs/cgroup/system.slice/{DOCKER}/memory.events");
        // Version 2: in a namespace of its own; in the machine's, beside others; without the controller of memory.
        check("0::/\n", &[("sys/fs/cgroup/memory.events", EVENTS)], 2);
        check(&scope, &[(&below, EVENTS)], 2);
        check(&scope, &[("sys/fs/cgroup/system.slice/memory.events", EVENTS)], -1);
        check("0::/\n", &[("sys/fs/cgroup/cpu.stat", "usage_usec 1\n")], -1);
        // Version 1, alone and with version 2 beside it.
        let one = "5:memory:/docker/2f6b\n4:cpu,cpuacct:/docker/2f6b\n";
        let control = "sys/fs/cgroup/memory/memory.oom_control";
        check(one, &[(control, CONTROL)], 3);
        let hybrid = format!("{one}0::/docker/2f6b\n");
        let groups = [
            (control, CONTROL),
            ("sys/fs/cgroup/unified/cgroup.events", "populated 1\n"),
        ];
        check(&hybrid, &groups, 3);
        let machines = "oom_kill_disable 0\nunder_oom 0\noom_kill 99\n";
        let all = [
            (control, machines),
            ("sys/fs/cgroup/memory/docker/2f6b/memory.oom_control", CONTROL),
        ];
        check(one, &all, 3);
        check("", &[], -1);
    }
}
