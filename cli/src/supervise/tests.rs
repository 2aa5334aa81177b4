//! Real processes, without the detour through our own binary: `own` is a shell script that does what `outrigger exec` does.

use std::os::unix::fs::PermissionsExt as _;

use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::*;

/// A stand-in for `outrigger exec --parent=… -- program args…`.
fn supervisor(folder: &std::path::Path, restart: bool) -> (Supervisor, EarlyEnds) {
    let own = folder.join("own");
    std::fs::write(&own, "#!/bin/sh\nshift 3\nexec \"$@\"\n").unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
    Supervisor::new(own, folder.to_owned(), restart, Output::new(true))
}

fn shell(name: &str, script: &str) -> Launch {
    Launch {
        name: name.to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        dir: "/".into(),
        may_finish: false,
        sockets: Vec::new(),
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("it happens within 20 s")
}

async fn until(process: &Process, is_it: impl FnMut(&State) -> bool) {
    within(process.state.subscribe().wait_for(is_it))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_child_that_ends_too_early_is_told_with_its_code_and_last_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (mut supervisor, mut early) = supervisor(folder.path(), true);
    supervisor
        .start(shell(
            "web",
            "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo $i; done; echo bad >&2; exit 3",
        ))
        .unwrap();
    let end = within(early.next()).await;
    assert_eq!(
        (end.name.as_str(), end.ended.as_str(), end.last_lines.len()),
        ("web", "exited with code 3", 20)
    );
    assert!(end.last_lines.contains(&"bad".to_owned()));
    within(supervisor.join()).await;
    assert!(
        std::fs::read_to_string(folder.path().join("web.log"))
            .unwrap()
            .starts_with("1\n2\n")
    );
}

#[tokio::test]
async fn a_settled_child_is_started_again_and_stopped_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let (mut supervisor, _early) = supervisor(folder.path(), true);
    let script = format!(
        "cd {}; if [ -e once ]; then exec sleep 60; fi; touch once; read x < fifo",
        folder.path().display()
    );
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    let path = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0).unwrap();
    let process = supervisor.start(shell("web", &script)).unwrap();
    process.settle();
    // Opening the other end lets it go on; it ends, and what comes after it stays.
    let fifo = folder.path().join("fifo");
    within(tokio::task::spawn_blocking(move || {
        std::fs::write(fifo, "\n")
    }))
    .await
    .unwrap()
    .unwrap();
    until(&process, |state| matches!(state, State::Pausing { .. })).await;
    until(&process, |state| matches!(state, State::Running { .. })).await;
    assert_eq!(process.restarts(), 1);
    process.stop();
    within(process.gone()).await;
    within(supervisor.join()).await;
}

#[tokio::test]
async fn without_restart_a_crashed_child_stays_down() {
    let folder = tempfile::tempdir().unwrap();
    let (mut supervisor, _early) = supervisor(folder.path(), false);
    let process = supervisor.start(shell("web", "exec sleep 60")).unwrap();
    process.settle();
    let State::Running { pid } = process.state() else {
        panic!("it runs")
    };
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    until(&process, |state| {
        matches!(
            state,
            State::Ended {
                is_success: false,
                ..
            }
        )
    })
    .await;
    assert_eq!(
        process.state(),
        State::Ended {
            ended: "was ended by signal 9".to_owned(),
            is_success: false
        }
    );
    within(supervisor.join()).await;
}

#[tokio::test]
async fn a_job_may_finish_and_a_deaf_child_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let (mut supervisor, _early) = supervisor(folder.path(), true);
    let job = supervisor
        .start(Launch {
            may_finish: true,
            ..shell("job", "exit 0")
        })
        .unwrap();
    within(job.gone()).await;
    assert!(matches!(
        job.state(),
        State::Ended {
            is_success: true,
            ..
        }
    ));

    let deaf = supervisor
        .start(shell(
            "deaf",
            "trap '' TERM; sleep 300 & echo $!; while :; do wait; done",
        ))
        .unwrap();
    deaf.settle();
    let mut changes = supervisor.changes();
    within(async {
        while deaf.last_lines().is_empty() {
            let _tick = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
        }
    })
    .await;
    let child: i32 = deaf.last_lines()[0].parse().unwrap();
    deaf.stop();
    assert!(!deaf.is_gone());
    deaf.kill();
    within(deaf.gone()).await;
    within(supervisor.join()).await;
    // Its own child is gone, or waits to be reaped by the system; the signal was sent to both, and may take a moment.
    let is_dead = || {
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ") || state.contains(") X ")
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    within(async {
        while !is_dead() {
            ticks.tick().await;
        }
    })
    .await;
}
