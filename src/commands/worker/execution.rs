//! The name of this execution of an iteration: no two executions share one, wherever and however often an engine starts
//! them.

use crate::backend::{Creator, host_name};

pub(super) struct Execution {
    /// Name of the machine, as the engine knows it.
    pub(super) node: String,
    /// A name that no other execution has.
    pub(super) stamp: String,
}

impl Execution {
    pub(super) fn here() -> Execution {
        Execution::of(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Under Slurm a task that is requeued keeps its numbers, while a lost node may still run the execution before: only
    /// the count of restarts tells the two apart. An array that is submitted again has another number.
    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Execution {
        let node = variable("SLURMD_NODENAME").unwrap_or_else(host_name);
        let job = variable("SLURM_ARRAY_JOB_ID").or_else(|| variable("SLURM_JOB_ID"));
        let stamp = if let Some(job) = job {
            let restart = variable("SLURM_RESTART_COUNT").unwrap_or_else(|| "0".to_owned());
            format!("{job}.{restart}.{node}")
        } else {
            let us = Creator::current();
            format!("{}-{}-{}", us.host, us.pid, us.started)
        };
        Execution { node, stamp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(variables: &[(&str, &str)]) -> Execution {
        Execution::of(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_requeued_task_has_another_name_on_the_same_node() {
        let first = [
            ("SLURM_ARRAY_JOB_ID", "12"),
            ("SLURM_JOB_ID", "15"),
            ("SLURMD_NODENAME", "n1"),
        ];
        let again = [&first[..], &[("SLURM_RESTART_COUNT", "1")]].concat();
        assert_eq!(execution(&first).stamp, "12.0.n1");
        assert_eq!(execution(&again).stamp, "12.1.n1");
        assert_eq!(execution(&again).node, "n1");
    }

    #[test]
    fn elsewhere_the_process_and_its_start_name_it() {
        let here = execution(&[]);
        let us = Creator::current();
        assert_eq!(here.stamp, format!("{}-{}-{}", us.host, us.pid, us.started));
    }
}
