//! The demo's users: 1 Alice and 2 Bob, both PUBLIC, an address each. Their passwords come from a file that the run
//! generated; without the file there are no demo users. Loaded at every start, so that a new file's passwords hold.

use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use shop_chassis::Database;

use crate::password::Passwords;
use crate::store::{self, Address};
use crate::user::{User, Visibility};

/// The file: `{"users":[{"email":"alice@example.com","password":"…"}]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    users: Vec<Credentials>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: String,
    password: String,
}

/// Adds Alice and Bob with the file's passwords.
pub async fn load(
    database: &Database,
    passwords: &Passwords,
    file: Option<&Path>,
    now: Timestamp,
) -> anyhow::Result<()> {
    let Some(path) = file else {
        return Ok(());
    };
    let text = std::fs::read(path)
        .map_err(|error| anyhow::anyhow!("demo file {}: {error}", path.display()))?;
    // serde_json's message quotes no values, and passwords must not reach a log.
    let file: File = serde_json::from_slice(&text)
        .map_err(|error| anyhow::anyhow!("demo file {}: line {}", path.display(), error.line()))?;
    for credentials in file.users {
        let phc = passwords.hash(credentials.password).await?;
        let Some((user, address)) = person(&credentials.email, now) else {
            anyhow::bail!(
                "demo file {}: no demo user {}",
                path.display(),
                credentials.email
            );
        };
        let (user, address, phc) = (&user, &address, &phc);
        database
            .write(|tx| async move { store::put_demo_user(&*tx, user, phc, address).await })
            .await?;
    }
    Ok(())
}

fn person(email: &str, now: Timestamp) -> Option<(User, Address)> {
    let (id, name, address, line) = match email {
        "alice@example.com" => (1, "Alice", "ADDR-55", "55 Harbour Street"),
        "bob@example.com" => (2, "Bob", "ADDR-56", "56 Harbour Street"),
        _ => return None,
    };
    let user = User {
        id,
        name: name.to_owned(),
        email: email.to_owned(),
        password_phc: None,
        visibility: Visibility::Public,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let address = Address {
        id: address.to_owned(),
        user_id: id,
        recipient: name.to_owned(),
        line: line.to_owned(),
        city: "Hilo".to_owned(),
        postal_code: "96720".to_owned(),
        region: "HI".to_owned(),
        country_code: "US".to_owned(),
        is_default: true,
        created_at: now,
    };
    Some((user, address))
}
