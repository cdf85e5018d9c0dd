//! Images as candidates: those that are here, one that is missing, one that is pulled.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::{json, place};
use crate::cli::{Place, until};
use crate::debian::Programs;
use crate::engine::{DEBIAN, OwnImage, daemon, debian, docker};
use crate::place::Need;

/// The Debian image with a variable, under a name of the test's own: tests that run at once remove their images.
fn image_with(test: &str, value: u32) -> OwnImage {
    let image = OwnImage::named(&format!("culprit-{test}{value}"));
    let change = format!("ENV VALUE={value}");
    let container = docker(&["create", DEBIAN, "true"]).unwrap();
    docker(&["commit", "--change", &change, container.trim(), image.name()]).unwrap();
    docker(&["rm", container.trim()]).unwrap();
    image
}

fn among<'a>(images: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let own = ["culprit", "--of", "A2", "--progress", "none", "--format", "json"];
    [&own[..], more, &["--images"], images].concat()
}

#[test]
fn the_image_that_a_failure_came_with_is_found_and_one_that_is_missing_is_named() {
    if !daemon() || !debian() {
        return;
    }
    let place = place();
    let images = [1, 2, 3].map(|value| image_with("found", value));
    // Nobody serves images there.
    let missing = "127.0.0.1:1/absent:culprit";
    let of = [images[0].name(), images[1].name(), missing, images[2].name()];
    let ran = place.run(&among(&of, &["-E", "FROM=3"])).exits(0);
    let found = json(&ran);
    assert_eq!(found["culprit"], images[2].name(), "{found}");
    let left_out = found["candidates"][2]["left_out"].as_str().unwrap();
    assert!(
        left_out.contains(&format!(
            "image `{missing}` is not on this host, and cannot be pulled: failed to pull the image: "
        )),
        "{left_out}"
    );
    assert!(
        ran.err().contains(&format!("note: `{missing}` is left out: ")),
        "{}",
        ran.err()
    );
}

/// A registry that Debian packages, on a port of this machine alone, which engines use without certificates.
struct Registry(Child);

impl Registry {
    fn start(place: &Place, port: u16) -> Option<Registry> {
        let programs = Programs::of(Need::Registry, &["docker-registry"], &["docker-registry"])?;
        let store = place.path("registry");
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            store.display()
        );
        fs::write(place.path("registry.yml"), config).unwrap();
        let mut command = Command::new(programs.path("docker-registry"));
        command.arg("serve").arg(place.path("registry.yml"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let started = Registry(command.envs(programs.environment()).spawn().unwrap());
        until("a registry that answers", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(started)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_image_that_is_missing_is_pulled_when_it_is_visited() {
    if !daemon() || !debian() {
        return;
    }
    let place = place();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(_registry) = Registry::start(&place, port) else {
        return;
    };
    let here = image_with("pulled", 1);
    let away = image_with("pulled", 2);
    let name = format!("127.0.0.1:{port}/pool:2");
    docker(&["tag", away.name(), &name]).unwrap();
    docker(&["push", "-q", &name]).unwrap();
    docker(&["rmi", &name]).unwrap();
    drop(away);
    let ran = place.run(&among(&[here.name(), &name], &["-E", "FROM=2", "--no-confirm"]));
    docker(&["rmi", &name]);
    let ran = ran.exits(0);
    assert_eq!(json(&ran)["culprit"], name.as_str());
    assert!(ran.err().contains(&format!("pulling `{name}`")), "{}", ran.err());
}
