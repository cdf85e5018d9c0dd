use super::*;
use crate::commands::sweep::args;
use crate::spec::{EnvVar, Mode};

fn said(ids: &[&str]) -> GivenFlags {
    let known = args::command();
    for id in ids {
        assert!(known.get_arguments().any(|arg| arg.get_id() == id), "{id}");
    }
    GivenFlags(ids.iter().map(|id| (*id).to_owned()).collect())
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
    }
}

fn recorded() -> Spec {
    Spec {
        mode: Mode::Xdist(4),
        jobs: 3,
        image: "app:1".to_owned(),
        pytest_args: vec!["tests/a.py".to_owned()],
        env: vec![variable("A", "1"), variable("B", "1")],
        container: Container {
            cpus: Some(0.5),
            volumes: vec!["/x:/x".to_owned()],
            ..Container::default()
        },
        deadlines: Deadlines {
            total_s: 30.0,
            silence_s: Some(5.0),
            ..Deadlines::default()
        },
        ..Spec::default()
    }
}

#[test]
fn what_is_not_said_is_as_it_was_recorded() {
    let found = inherit(Spec::default(), &recorded(), &GivenFlags::default());
    assert_eq!(found, recorded());
}

#[test]
fn what_is_said_wins_and_variables_add_up() {
    let asked = Spec {
        image: "app:2".to_owned(),
        env: vec![variable("B", "2")],
        deadlines: Deadlines {
            total_s: 60.0,
            ..Deadlines::default()
        },
        ..Spec::default()
    };
    let said = said(&["image", "env", "timeout"]);
    let found = inherit(asked, &recorded(), &said);
    assert_eq!(found.image, "app:2");
    assert_eq!(found.env, [variable("A", "1"), variable("B", "2")]);
    assert_eq!((found.deadlines.total_s, found.deadlines.silence_s), (60.0, Some(5.0)));
    assert_eq!(found.pytest_args, ["tests/a.py"]);
}

#[test]
fn of_a_sweep_whose_conditions_are_wanted_nothing_else_is_taken() {
    let asked = Spec {
        image: "app:2".to_owned(),
        container: Container {
            memory: Some(1 << 30),
            volumes: vec!["/y:/y".to_owned()],
            ..Container::default()
        },
        ..Spec::default()
    };
    let mut recorded = recorded();
    recorded.container.memory = Some(1 << 20);
    let under = under_conditions_of(asked.clone(), &recorded);
    assert_eq!(under.container.memory, Some(1 << 20));
    let found = but_for_given(under, &asked, &[], &said(&["memory"]));
    assert_eq!(
        (found.container.cpus, found.container.memory),
        (Some(0.5), Some(1 << 30))
    );
    assert_eq!(
        (found.container.volumes, found.image),
        (asked.container.volumes, asked.image)
    );
}

#[test]
fn every_flag_that_is_looked_for_exists() {
    let ids = "parallelism jobs chunk_size chunk_parallel backend image paths pytest_nodeid pytest_args no_trail env \
        pass_env output_env host_requirements max_attempts volumes network shm_size ulimits cpus memory gpus user \
        cpuset noise workspace without silence timeout on_hang keep_for grace conditions pids_limit starve";
    said(&ids.split_whitespace().collect::<Vec<_>>());
}
