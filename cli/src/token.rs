//! `outrigger token alice`: signs a demo user in through the gateway, as any client would, and prints the access token and nothing else.
//!
//! It never touches a signing key: what it prints is what identity issued.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use serde::Deserialize;

use crate::output::Output;
use crate::run_folder::{self, Demo, DemoUser, Paths};
use crate::run_record::Run;

const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  outrigger token alice\n  \
    curl -H \"Authorization: Bearer $(outrigger token alice)\" http://127.0.0.1:8080/v1/users/me")]
pub(crate) struct Args {
    /// A user of demo.json: alice, bob, or a mail address
    user: String,
    /// Folder of the run
    #[arg(long, value_name = "DIR", default_value = ".outrigger")]
    data_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Folder(#[from] run_folder::Error),
    #[error(transparent)]
    Lock(#[from] run_folder::LockError),
    #[error("nothing runs in {0}: start it with `outrigger up`, or name its --data-dir")]
    NothingRuns(String),
    #[error("this mesh has no gateway to sign in at")]
    NoGateway,
    #[error("no user {name:?} in {file}")]
    NoUser { name: String, file: String },
    #[error("the gateway cannot be reached: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("the gateway refused to sign {user} in with {status}: {body}")]
    Refused {
        user: String,
        status: reqwest::StatusCode,
        body: String,
    },
    #[error("the runtime did not start: {0}")]
    Runtime(std::io::Error),
}

pub(crate) fn run(args: &Args, output: &Output) -> ExitCode {
    match token(args) {
        Ok(token) => {
            output.result(&token);
            ExitCode::SUCCESS
        }
        Err(err) => {
            output.error(&err.to_string());
            ExitCode::FAILURE
        }
    }
}

fn token(args: &Args) -> Result<String, Error> {
    let root = run_folder::root(Some(&args.data_dir))?;
    let run = run_folder::holder::<Run>(&root)?
        .ok_or_else(|| Error::NothingRuns(root.display().to_string()))?;
    let edge = run.edge.ok_or(Error::NoGateway)?;
    let file = Paths::new(root.clone(), root.join("run")).demo();
    let demo = Demo::read(&file)?;
    let user = demo.user(&args.user).ok_or_else(|| Error::NoUser {
        name: args.user.clone(),
        file: file.display().to_string(),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(sign_in(&edge, user))
}

async fn sign_in(edge: &str, user: &DemoUser) -> Result<String, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Session {
        access_token: String,
    }
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(LIMIT)
        .build()?;
    let answer = http
        .post(format!("{edge}/v1/sessions"))
        .json(user)
        .send()
        .await?;
    let status = answer.status();
    if !status.is_success() {
        let body = answer.text().await.unwrap_or_default();
        return Err(Error::Refused {
            user: user.email.clone(),
            status,
            body,
        });
    }
    Ok(answer.json::<Session>().await?.access_token)
}
