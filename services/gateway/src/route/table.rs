//! All routes, and which of them a request means.
//!
//! Precedence does not depend on the order in which routes were added: segment by segment from the
//! left a literal goes before `*`, and `*` before `**`, with backtracking. An exact HTTP method goes
//! before one that stands for all.

use std::collections::HashMap;

use http::Method;

use super::template::Segment;
use super::{Path, Template};

/// Routes to values of type `T`.
#[derive(Debug)]
pub(crate) struct Table<T> {
    root: Node,
    routes: Vec<Route<T>>,
}

#[derive(Debug)]
struct Route<T> {
    /// None stands for every method.
    method: Option<Method>,
    template: Template,
    value: T,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Self>,
    single: Option<Box<Self>>,
    multi: Option<Box<Self>>,
    ends: Vec<End>,
}

#[derive(Debug)]
struct End {
    verb: Option<String>,
    /// None stands for every method.
    method: Option<Method>,
    route: usize,
}

/// The HTTP method and template that two routes share.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method} {template} is taken")]
pub(crate) struct Conflict {
    /// The HTTP method, or `*`.
    pub(crate) method: String,
    /// The flattened template.
    pub(crate) template: String,
    /// The route that was there before.
    pub(crate) other: usize,
}

/// What a request means.
#[derive(Debug)]
pub(crate) enum Found<'a, T> {
    Route {
        template: &'a Template,
        /// The path that the template matched: without its verb, if it has one.
        path: Path,
        value: &'a T,
    },
    /// The path is known with these methods only.
    OtherMethods(Vec<Method>),
    Nothing,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self {
            root: Node::default(),
            routes: Vec::new(),
        }
    }

    /// Adds a route; `None` for the method stands for every method.
    pub(crate) fn add(
        &mut self,
        method: Option<Method>,
        template: Template,
        value: T,
    ) -> Result<(), Conflict> {
        let mut node = &mut self.root;
        for segment in template.segments() {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
                Segment::Single => node.single.get_or_insert_default(),
                Segment::Multi => node.multi.get_or_insert_default(),
            };
        }
        let verb = template.verb().map(str::to_owned);
        if let Some(other) = node
            .ends
            .iter()
            .find(|end| end.verb == verb && end.method == method)
        {
            return Err(Conflict {
                method: method.map_or_else(|| "*".to_owned(), |method| method.to_string()),
                template: template.to_string(),
                other: other.route,
            });
        }
        node.ends.push(End {
            verb,
            method: method.clone(),
            route: self.routes.len(),
        });
        self.routes.push(Route {
            method,
            template,
            value,
        });
        Ok(())
    }

    /// The routes in the order they were added.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Option<&Method>, &Template, &T)> {
        self.routes
            .iter()
            .map(|route| (route.method.as_ref(), &route.template, &route.value))
    }

    /// Changes the value of every route.
    pub(crate) fn change(&mut self, change: impl FnMut(&mut T)) {
        self.routes
            .iter_mut()
            .map(|route| &mut route.value)
            .for_each(change);
    }

    pub(crate) fn find(&self, method: &Method, path: &Path) -> Found<'_, T> {
        let method = if *method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let with_verb = path.split_verb();
        let mut others: Vec<Method> = Vec::new();
        let attempts = with_verb
            .as_ref()
            .map(|(rest, verb)| (rest, Some(*verb)))
            .into_iter()
            .chain([(path, None)]);
        for (path, verb) in attempts {
            let mut exact = |ends: &[End]| pick(ends, verb, Some(method), &mut others);
            let exact = walk(&self.root, path.segments(), &mut exact);
            let found = exact.or_else(|| {
                walk(&self.root, path.segments(), &mut |ends: &[End]| {
                    pick(ends, verb, None, &mut Vec::new())
                })
            });
            if let Some(route) = found.and_then(|route| self.routes.get(route)) {
                return Found::Route {
                    template: &route.template,
                    path: path.clone(),
                    value: &route.value,
                };
            }
        }
        if others.is_empty() {
            return Found::Nothing;
        }
        if others.contains(&Method::GET) {
            others.push(Method::HEAD);
        }
        others.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        others.dedup();
        Found::OtherMethods(others)
    }
}

/// The route of these ends with this verb and method; methods that are there instead are noted.
fn pick(
    ends: &[End],
    verb: Option<&str>,
    method: Option<&Method>,
    others: &mut Vec<Method>,
) -> Option<usize> {
    let mut route = None;
    for end in ends.iter().filter(|end| end.verb.as_deref() == verb) {
        if end.method.as_ref() == method {
            route = Some(end.route);
        }
        others.extend(end.method.clone());
    }
    route
}

/// Visits the nodes where the segments may end, best first, until one is accepted.
fn walk(
    node: &Node,
    segments: &[String],
    accept: &mut impl FnMut(&[End]) -> Option<usize>,
) -> Option<usize> {
    let Some((first, rest)) = segments.split_first() else {
        // `**` matches nothing at all, too.
        return accept(&node.ends).or_else(|| walk_multi(node, segments, accept));
    };
    let literal = node.literals.get(first);
    if let Some(route) = literal.and_then(|next| walk(next, rest, accept)) {
        return Some(route);
    }
    if first.is_empty() {
        // A trailing slash is another path.
        return None;
    }
    let single = node.single.as_deref();
    single
        .and_then(|next| walk(next, rest, accept))
        .or_else(|| walk_multi(node, segments, accept))
}

fn walk_multi(
    node: &Node,
    segments: &[String],
    accept: &mut impl FnMut(&[End]) -> Option<usize>,
) -> Option<usize> {
    let next = node.multi.as_deref()?;
    if segments.last().is_some_and(String::is_empty) {
        return None;
    }
    (0..=segments.len())
        .filter_map(|taken| segments.get(taken..))
        .find_map(|left| walk(next, left, accept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(templates: &[&str]) -> Table<String> {
        let mut table = Table::new();
        for text in templates {
            let template = Template::parse(text).unwrap();
            table
                .add(Some(Method::GET), template, (*text).to_owned())
                .unwrap();
        }
        table
    }

    /// `None`, or the template and the values of its variables.
    fn find(table: &Table<String>, path: &str) -> Option<(String, Vec<String>)> {
        match table.find(&Method::GET, &Path::parse(path).unwrap()) {
            Found::Route {
                template,
                path,
                value,
            } => {
                let values = template.variables().iter();
                Some((
                    value.clone(),
                    values.map(|v| template.capture(v, &path)).collect(),
                ))
            }
            Found::OtherMethods(_) | Found::Nothing => None,
        }
    }

    fn check(templates: &[&str], path: &str, expected: Option<(usize, &[&str])>) {
        let mut orders = vec![templates.to_vec()];
        orders.push(templates.iter().rev().copied().collect());
        for order in orders {
            let found = find(&table(&order), path);
            let expected = expected.map(|(index, values)| {
                let values = values.iter().map(|value| (*value).to_owned()).collect();
                (templates[index].to_owned(), values)
            });
            assert_eq!(found, expected, "{path} in {order:?}");
        }
    }

    #[test]
    fn paths_match_as_the_vectors_say() {
        let users = &["/v1/users/{id}", "/v1/users/me"][..];
        check(users, "/v1/users/me", Some((1, &[])));
        check(users, "/v1/users/7", Some((0, &["7"])));
        for path in ["/a", "/a/b", "/a/b/c"] {
            check(&["/a/**"], path, Some((0, &[])));
        }
        check(&["/b/*"], "/b/c", Some((0, &[])));
        check(&["/b/*"], "/b", None);
        check(&["/b/*"], "/b/", None);
        check(&["/b/*"], "/b/c/d", None);
        let backtrack = &["/c/*/d/**", "/c/*/d/e", "/c/f/d/e"][..];
        check(backtrack, "/c/f/d/e", Some((2, &[])));
        check(backtrack, "/c/x/d/e", Some((1, &[])));
        check(backtrack, "/c/f/d/z", Some((0, &[])));
        check(
            &["/{x=a/*}/b/{y=*}/c"],
            "/a/hello/b/world/c",
            Some((0, &["a/hello", "world"])),
        );
        check(
            &["/p/{x=**}/q"],
            "/p/eat/bones/q",
            Some((0, &["eat/bones"])),
        );
        let multi = &["/p/{x=b/**}", "/p/{x=b/**}/z", "/p/{x=**}"][..];
        check(multi, "/p/b/w/z", Some((1, &["b/w"])));
        check(multi, "/p/b/w", Some((0, &["b/w"])));
        check(multi, "/p/h/w", Some((2, &["h/w"])));
        check(&["/a/{x}"], "/a/p%20q%2Fr+", Some((0, &["p q/r+"])));
        check(
            &["/a/{x=**}"],
            "/a/p/f%20o/q%2Fr",
            Some((0, &["p/f o/q%2Fr"])),
        );
        check(&["/a/{x=**}"], "/a/q%2fr", Some((0, &["q%2fr"])));
        check(
            &["/a/{x=p/*/q/*}"],
            "/a/p/f%20o/q/b%2Fc",
            Some((0, &["p/f o/q/b%2Fc"])),
        );
        let verbs = &["/x/{id}", "/{n=**}:go"][..];
        check(verbs, "/x/7:go", Some((1, &["x/7"])));
        check(verbs, "/x/7:other", Some((0, &["7:other"])));
        check(verbs, "/y:go", Some((1, &["y"])));
        check(verbs, "/y:other", None);
        check(&["/{a}/{b}:go"], "/s:go/c:go", Some((0, &["s:go", "c"])));
        check(&["/foo/*/hello"], "/foo/o:go/hello", Some((0, &[])));
        check(&["/some/*:go"], "/some/o:go/", None);
        check(&["/prefix/middle"], "/prefix", None);
        check(&["/prefix/middle"], "/prefix/middle/x", None);
        check(&["/"], "/", Some((0, &[])));
        check(&["/a/**"], "/a/", None);
        check(&["/{n=**}:go"], "/:go", None);
    }

    #[test]
    fn other_methods_are_told_and_exact_goes_before_any() {
        let mut table = Table::new();
        let template = |text| Template::parse(text).unwrap();
        table.add(Some(Method::GET), template("/a/me"), 0).unwrap();
        table
            .add(Some(Method::PATCH), template("/a/{x}"), 1)
            .unwrap();
        table.add(None, template("/b/{x}"), 2).unwrap();
        table.add(Some(Method::PUT), template("/b/{x}"), 3).unwrap();
        let find =
            |method: Method, path: &str| match table.find(&method, &Path::parse(path).unwrap()) {
                Found::Route { value, .. } => Ok(*value),
                Found::OtherMethods(methods) => Err(methods),
                Found::Nothing => Err(Vec::new()),
            };
        assert_eq!(find(Method::HEAD, "/a/me"), Ok(0));
        assert_eq!(find(Method::PATCH, "/a/me"), Ok(1));
        assert_eq!(
            find(Method::POST, "/a/me"),
            Err(vec![Method::GET, Method::HEAD, Method::PATCH])
        );
        assert_eq!(find(Method::POST, "/a/7"), Err(vec![Method::PATCH]));
        assert_eq!(find(Method::POST, "/c"), Err(Vec::new()));
        assert_eq!(find(Method::PUT, "/b/7"), Ok(3));
        assert_eq!(find(Method::POST, "/b/7"), Ok(2));
    }

    #[test]
    fn two_routes_for_the_same_requests_are_refused() {
        let mut table = Table::new();
        let template = |text| Template::parse(text).unwrap();
        table.add(Some(Method::GET), template("/a/{x}"), 0).unwrap();
        table.add(Some(Method::PUT), template("/a/{y}"), 1).unwrap();
        table
            .add(Some(Method::GET), template("/a/{y}:go"), 2)
            .unwrap();
        let conflict = table
            .add(Some(Method::GET), template("/a/*"), 3)
            .unwrap_err();
        assert_eq!(
            conflict,
            Conflict {
                method: "GET".to_owned(),
                template: "/a/*".to_owned(),
                other: 0
            }
        );
    }

    #[test]
    fn an_encoded_slash_is_allowed_in_variables_only() {
        for (template, path, hidden) in [
            ("/a/{x}", "/a/b%2Fc", false),
            ("/a/*", "/a/b%2Fc", true),
            ("/a/{x=**}", "/a/b/c%2fd", false),
            ("/*/{x=**}", "/a%2F/b", true),
        ] {
            let template = Template::parse(template).unwrap();
            assert_eq!(
                template.hides_a_slash(&Path::parse(path).unwrap()),
                hidden,
                "{path}"
            );
        }
    }
}
