//! What `up` prints once everything is ready: addresses, the table of sockets, and calls to paste.

use std::path::Path;
use std::time::Duration;

use super::run::Mesh;
use crate::run_folder::Demo;
use crate::socket_table;

/// Facts of a run that the printed lines are made from.
struct Facts<'a> {
    edge: &'a str,
    /// How the user calls this binary from where `up` was started.
    own: &'a str,
    /// ` --data-dir …`, if it is not the default.
    data_dir: &'a str,
    /// Idempotency key of the shown order, new at each start.
    key: &'a str,
}

pub(super) fn text(mesh: &Mesh, took: Duration) -> String {
    let setup = &mesh.setup;
    let count = setup.plan.instances.len();
    let mut blocks = vec![format!(
        "Ready after {:.1} s: {count} {}. Logs: {}",
        took.as_secs_f32(),
        if count == 1 {
            "application and its sidecar"
        } else {
            "applications, each with a sidecar"
        },
        setup.paths.logs().display()
    )];
    let edge = mesh.edge();
    let mut urls = vec![format!("registry  {}", setup.registry.address)];
    if let Some(edge) = &edge {
        urls.insert(0, format!("gateway   {edge}"));
    }
    blocks.push(urls.join("\n"));
    if let Some(demo) = &setup.demo {
        blocks.push(users(demo, &setup.paths.demo()));
    }
    blocks.push(format!(
        "All listening sockets of this run:\n{}",
        socket_table::render(&mesh.sockets())
    ));
    blocks.push(consul(
        &setup.registry.address,
        setup
            .registry
            .token
            .as_deref()
            .filter(|_| setup.registry.embedded.is_some()),
    ));
    if let Some(edge) = edge.filter(|_| setup.plan.runs_shop()) {
        let folder = &setup.environment.folder;
        let own = setup
            .environment
            .own
            .strip_prefix(folder)
            .unwrap_or(&setup.environment.own);
        let data_dir = data_dir(&setup.data_dir, setup.paths.root());
        let key = uuid::Uuid::new_v4().to_string();
        blocks.push(calls(&Facts {
            edge: &edge,
            own: &quote(own),
            data_dir: &data_dir,
            key: &key,
        }));
    }
    blocks.push("Ctrl-C drains and stops.".to_owned());
    blocks.join("\n\n")
}

/// Made for this folder, worth nothing elsewhere; only the terminal gets them, no log.
fn users(demo: &Demo, file: &Path) -> String {
    let users: Vec<String> = demo
        .users
        .iter()
        .map(|user| format!("{}  {}", user.email, user.password))
        .collect();
    format!(
        "Demo users and their passwords ({}):\n{}",
        file.display(),
        users.join("\n")
    )
}

/// On a Consul of somebody else the user has the token already.
fn consul(address: &str, token: Option<&str>) -> String {
    let token = token
        .map(|token| format!(" CONSUL_HTTP_TOKEN={token}"))
        .unwrap_or_default();
    format!("For the consul CLI:\nexport CONSUL_HTTP_ADDR={address}{token}")
}

fn data_dir(written: &Path, root: &Path) -> String {
    match written == Path::new(".outrigger") {
        true => String::new(),
        false => format!(" --data-dir {}", quote(root)),
    }
}

fn calls(facts: &Facts<'_>) -> String {
    let Facts {
        edge,
        own,
        data_dir,
        key,
    } = facts;
    let address = edge.trim_start_matches("http://");
    let bearer = format!("-H \"Authorization: Bearer $({own} token alice{data_dir})\"");
    let body = format!(
        "{{\"items\":[{{\"productId\":\"P-101\",\"quantity\":2,\"price\":1200}}],\"shippingAddressId\":\"ADDR-55\",\
         \"paymentMethod\":\"card\",\"idempotencyKey\":\"{key}\"}}"
    );
    let place =
        format!("{edge}/api/v1/orders {bearer} -H 'Content-Type: application/json' -d '{body}'");
    // The same request gives the same order, so its id need not be copied by hand.
    let order =
        format!("$(curl -sS {place} | sed -n 's/.*\"orderId\": *\"\\([^\"]*\\)\".*/\\1/p')");
    [
        "Place an order (again: the same order, and Idempotent-Replayed: true):".to_owned(),
        format!("curl -sS -i {place}"),
        String::new(),
        "The same gateway in gRPC, by reflection; the last line gets that order:".to_owned(),
        format!("grpcurl -plaintext {address} list"),
        format!("grpcurl -plaintext {address} describe shop.orders.v1.OrderService"),
        format!(
            "grpcurl -plaintext {bearer} -d \"{{\\\"orderId\\\":\\\"{order}\\\"}}\" {address} shop.orders.v1.OrderService/GetOrder"
        ),
    ]
    .join("\n")
}

/// For a shell.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:@,".contains(&byte);
    match text.bytes().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a line in a shell where `curl`, `grpcurl` and `outrigger` only show their arguments.
    fn shell(line: &str) -> Vec<String> {
        let fakes = "outrigger() { printf %s \"tok-$2\"; }\n\
            curl() { case \"$1 $2\" in '-sS -i') printf '%s\\n' curl \"$@\";; *) printf '{\"orderId\": \"o-1\",\"x\":\"y\"}';; esac; }\n\
            grpcurl() { printf '%s\\n' grpcurl \"$@\"; }\n";
        let output = std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("{fakes}{line}"))
            // Who pastes a line has a `sed`, whatever this test was started with.
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_printed_lines_can_be_pasted() {
        let text = calls(&Facts {
            edge: "http://127.0.0.1:8080",
            own: "outrigger",
            data_dir: "",
            key: "k-1",
        });
        let line = |start: &str| {
            text.lines()
                .find(|line| line.starts_with(start))
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            shell(&line("curl")),
            [
                "curl",
                "-sS",
                "-i",
                "http://127.0.0.1:8080/api/v1/orders",
                "-H",
                "Authorization: Bearer tok-alice",
                "-H",
                "Content-Type: application/json",
                "-d",
                r#"{"items":[{"productId":"P-101","quantity":2,"price":1200}],"shippingAddressId":"ADDR-55","paymentMethod":"card","idempotencyKey":"k-1"}"#,
            ]
        );
        assert_eq!(
            shell(&line("grpcurl -plaintext -H")),
            [
                "grpcurl",
                "-plaintext",
                "-H",
                "Authorization: Bearer tok-alice",
                "-d",
                r#"{"orderId":"o-1"}"#,
                "127.0.0.1:8080",
                "shop.orders.v1.OrderService/GetOrder",
            ]
        );
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_trip() {
        let cases = [
            ("target/debug/outrigger", "target/debug/outrigger"),
            ("/my dir/o'k", "'/my dir/o'\\''k'"),
        ];
        for (path, expected) in cases {
            assert_eq!(quote(Path::new(path)), expected);
        }
        assert_eq!(
            data_dir(Path::new(".outrigger"), Path::new("/w/.outrigger")),
            ""
        );
        assert_eq!(
            data_dir(Path::new("d"), Path::new("/w/d")),
            " --data-dir /w/d"
        );
    }
}
