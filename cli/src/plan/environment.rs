//! What an application finds in its environment.

use std::collections::BTreeMap;

use super::{Address, Addresses, Instance};
use crate::environment::Variables;
use crate::run_folder::Paths;

/// Never handed on: with it an application could write to the registry in everybody's name.
const WITHHELD: [&str; 4] = [
    "CONSUL_HTTP_TOKEN",
    "CONSUL_HTTP_TOKEN_FILE",
    "PORT",
    "OUTRIGGER_LISTEN",
];

/// What a child starts with.
pub(crate) fn for_child(inherited: &Variables) -> BTreeMap<String, String> {
    let mut env = inherited.0.clone();
    env.retain(|key, _| !WITHHELD.contains(&key.as_str()));
    env
}

impl Instance {
    /// Later sources win: the environment of `outrigger up`, the shop's defaults, the mesh file, and last what only `outrigger` can know.
    pub(crate) fn environment(
        &self,
        inherited: &Variables,
        paths: &Paths,
        addresses: &Addresses,
    ) -> BTreeMap<String, String> {
        let mut env = for_child(inherited);
        if let Some(shop) = &self.program.shop {
            self.add_shop(shop, inherited, paths, &mut env);
        }
        env.extend(self.env.clone());
        env.extend(self.own(addresses));
        env
    }

    fn own(&self, addresses: &Addresses) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let mut set = |key: String, value: String| env.insert(key, value);
        if let Some(address) = &self.application {
            set("OUTRIGGER_LISTEN".to_owned(), address.to_string());
        }
        if let Some(Address::Tcp(port)) = self.application {
            set("PORT".to_owned(), port.to_string());
        }
        set(
            "OUTRIGGER_OUTBOUND_ADDR".to_owned(),
            addresses.outbound.clone(),
        );
        for (upstream, address) in &addresses.upstreams {
            set(
                format!("OUTRIGGER_UPSTREAM_{}_ADDR", variable(upstream)),
                address.to_string(),
            );
        }
        set("OUTRIGGER_SERVICE".to_owned(), self.service.clone());
        set("OUTRIGGER_VERSION".to_owned(), self.version.clone());
        set("OUTRIGGER_INSTANCE".to_owned(), self.name.clone());
        env
    }

    fn add_shop(
        &self,
        shop: &str,
        inherited: &Variables,
        paths: &Paths,
        env: &mut BTreeMap<String, String>,
    ) {
        let own = |setting: &str| format!("SHOP_{}_{setting}", variable(shop));
        if let Some(address) = &self.application {
            env.insert(own("LISTEN"), address.to_string());
        }
        env.insert(
            "SHOP_PAGE_TOKEN_KEY_FILE".to_owned(),
            paths.key("page-token").display().to_string(),
        );
        if shop == "gateway" {
            let admin = self.admin().map(|address| address.to_string());
            env.extend(admin.map(|address| (own("ADMIN_LISTEN"), address)));
            return;
        }
        // The one setting that is taken from outside: it selects PostgreSQL.
        let database = own("DATABASE_URL");
        if !inherited.0.contains_key(&database) {
            env.insert(database, sqlite(paths, &self.service));
        }
        if shop == "identity" {
            env.insert(
                "SHOP_DEMO_FILE".to_owned(),
                paths.demo().display().to_string(),
            );
            env.insert(
                "SHOP_IDENTITY_KEY_FILE".to_owned(),
                paths.key("identity").display().to_string(),
            );
        }
    }
}

/// Replicas and versions of a service share one file.
fn sqlite(paths: &Paths, service: &str) -> String {
    // The path is a part of a URL: what would end or change it is escaped.
    let path = paths.database(service).display().to_string();
    let escaped = path
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23")
        .replace(' ', "%20");
    format!("sqlite://{escaped}?mode=rwc")
}

/// `order-history` → `ORDER_HISTORY`.
pub(crate) fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}
