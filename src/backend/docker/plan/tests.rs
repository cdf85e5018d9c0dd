use super::*;
use crate::backend::tests::spec;
use crate::spec::EnvVar;

fn attempt() -> Attempt {
    Attempt {
        sweep: "/logs/serial".into(),
        iteration: 7,
        name: "run007.here-1-1".to_owned(),
        dir: "/logs/serial/.attempts/run007.here-1-1/session".into(),
        dirs: None,
        guarded: vec!["/logs/serial".into()],
        argv: ["python3", "-m", "pytest"].map(str::to_owned).to_vec(),
        env: vec![("REPRODUCE_FLAKY_ITERATION".to_owned(), "7".to_owned())],
        dir_env: vec![
            ("DYN_TEST_OUTPUT_PATH".to_owned(), String::new()),
            ("TRAIL".to_owned(), "trail".to_owned()),
        ],
    }
}

fn value<'a>(instance: &'a Instance, name: &str) -> Option<&'a str> {
    instance
        .env
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

#[test]
fn a_session_knows_its_iteration_its_directory_and_the_images_modules() {
    let config = ImageConfig {
        env: Some(vec!["PYTHONPATH=/app".to_owned()]),
        ..ImageConfig::default()
    };
    let plan = Plan::named(&spec("app"), Some(Path::new("/cache")), true, "sha256:1", config).unwrap();
    let instance = plan.session(&attempt());
    assert_eq!(value(&instance, "PYTHONPATH"), Some("/reproduce-flaky/plugin:/app"));
    assert_eq!(value(&instance, "DYN_TEST_OUTPUT_PATH"), Some("/reproduce-flaky/run"));
    assert_eq!(value(&instance, "TRAIL"), Some("/reproduce-flaky/run/trail"));
    assert_eq!(value(&instance, "REPRODUCE_FLAKY_ITERATION"), Some("7"));
    assert_eq!(instance.argv[0], "python3");
}

#[test]
fn values_given_on_the_command_line_are_no_secrets() {
    let mut spec = spec("app");
    spec.pass_env = vec!["HF_TOKEN".to_owned(), "GIVEN".to_owned()];
    spec.env = vec![
        EnvVar {
            name: "GIVEN".to_owned(),
            value: Some("x".to_owned()),
        },
        EnvVar {
            name: "NAMED".to_owned(),
            value: None,
        },
    ];
    let plan = Plan::named(&spec, None, true, "sha256:1", ImageConfig::default()).unwrap();
    assert_eq!(plan.secrets(), ["NAMED", "HF_TOKEN"]);
}

#[test]
fn containers_of_all_jobs_together_leave_half_of_a_machines_processes() {
    let with = |jobs: u32, given: Option<u32>| {
        let mut spec = spec("app");
        spec.jobs = jobs;
        spec.container.pids_limit = given;
        spec
    };
    assert_eq!(pids(&with(1, None), Some(4_194_304)), Some(16_384));
    assert_eq!(pids(&with(4, None), Some(32_768)), Some(4096));
    assert_eq!(pids(&with(64, None), Some(32_768)), Some(1024));
    assert_eq!(pids(&with(1, None), None), Some(16_384));
    assert_eq!(pids(&with(4, Some(50)), Some(32_768)), Some(50));
    assert_eq!(pids(&with(4, Some(0)), Some(32_768)), None);
}
