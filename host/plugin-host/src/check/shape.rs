//! Does an interface of a plugin have the shape of ours? wasmtime would find out only when
//! an instance is made, and say it in its own words.

use std::fmt::Write;
use std::sync::LazyLock;
use wit_parser::{
    Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeOwner, UnresolvedPackageGroup,
};

/// The contract that this host serves.
pub const VERSION: &str = "0.1.0";

/// wasmtime links versions that differ in the last number only (for 0.x).
pub fn compatible(version: &str) -> bool {
    version.split('.').take(2).eq(VERSION.split('.').take(2))
}

pub struct Contract {
    resolve: Resolve,
}

pub enum Difference {
    NoInterface,
    Other(String),
}

const TEXTS: [(&str, &str); 7] = [
    (
        "connector.wit",
        include_str!("../../../../wit/connector.wit"),
    ),
    ("flow.wit", include_str!("../../../../wit/flow.wit")),
    ("host.wit", include_str!("../../../../wit/host.wit")),
    ("provider.wit", include_str!("../../../../wit/provider.wit")),
    ("router.wit", include_str!("../../../../wit/router.wit")),
    ("types.wit", include_str!("../../../../wit/types.wit")),
    ("worlds.wit", include_str!("../../../../wit/worlds.wit")),
];

impl Contract {
    /// Parsed once: it takes a millisecond.
    pub fn ours() -> &'static Contract {
        static OURS: LazyLock<Contract> = LazyLock::new(Contract::load);
        &OURS
    }

    fn load() -> Contract {
        let mut map = wit_parser::SourceMap::new();
        for (name, text) in TEXTS {
            map.push_str(name, text);
        }
        let group: UnresolvedPackageGroup = map
            .parse()
            .map_err(|(_, e)| e)
            .expect("our own WIT parses: a test reads it");
        let mut resolve = Resolve::default();
        resolve
            .push_group(group)
            .expect("our own WIT resolves: a test reads it");
        Contract { resolve }
    }

    fn interface(&self, name: &str) -> Option<InterfaceId> {
        self.resolve
            .interfaces
            .iter()
            .find(|(_, i)| i.name.as_deref() == Some(name))
            .map(|(id, _)| id)
    }

    /// An import may have fewer functions than ours; an export must have all. Types are
    /// compared where functions use them.
    pub fn same_shape(
        &self,
        theirs: &Resolve,
        id: InterfaceId,
        name: &str,
        exported: bool,
    ) -> Result<(), Difference> {
        let ours = self.interface(name).ok_or(Difference::NoInterface)?;
        let (our_functions, their_functions) = (
            &self.resolve.interfaces[ours].functions,
            &theirs.interfaces[id].functions,
        );
        for (name, function) in their_functions {
            let Some(ours) = our_functions.get(name) else {
                if exported {
                    continue;
                }
                return Err(Difference::Other(format!(
                    "the host has no function {name}"
                )));
            };
            let (host, plugin) = (signature(&self.resolve, ours), signature(theirs, function));
            if host != plugin {
                return Err(Difference::Other(format!(
                    "{name}: the host has {}, the plugin has {}",
                    brief(&host, &plugin),
                    brief(&plugin, &host)
                )));
            }
        }
        if exported
            && let Some(missing) = our_functions
                .keys()
                .find(|name| !their_functions.contains_key(*name))
        {
            return Err(Difference::Other(format!(
                "the plugin lacks the function {missing}"
            )));
        }
        Ok(())
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let mut out = String::from("func(");
    for param in &function.params {
        let _ = write!(out, "{}: ", param.name);
        describe(resolve, &param.ty, &mut out, 0);
        out.push_str(", ");
    }
    out.push(')');
    if let Some(result) = &function.result {
        out.push_str(" -> ");
        describe(resolve, result, &mut out, 0);
    }
    out
}

/// Writes a type out in full, so that two packages compare by structure.
fn describe(resolve: &Resolve, ty: &Type, out: &mut String, depth: usize) {
    let Type::Id(id) = ty else {
        let _ = write!(out, "{}", primitive(ty));
        return;
    };
    let def = &resolve.types[*id];
    if depth > 16 {
        out.push_str("(too deep)");
        return;
    }
    let named = |out: &mut String| {
        if let Some(name) = &def.name {
            out.push_str(name);
            out.push(' ');
        }
    };
    match &def.kind {
        TypeDefKind::Type(inner) => describe(resolve, inner, out, depth + 1),
        TypeDefKind::Record(record) => {
            named(out);
            out.push_str("{ ");
            for field in &record.fields {
                let _ = write!(out, "{}: ", field.name);
                describe(resolve, &field.ty, out, depth + 1);
                out.push_str(", ");
            }
            out.push('}');
        }
        TypeDefKind::Variant(variant) => {
            named(out);
            out.push_str("{ ");
            for case in &variant.cases {
                out.push_str(&case.name);
                if let Some(ty) = &case.ty {
                    out.push('(');
                    describe(resolve, ty, out, depth + 1);
                    out.push(')');
                }
                out.push_str(", ");
            }
            out.push('}');
        }
        TypeDefKind::Enum(cases) => {
            named(out);
            out.push_str("{ ");
            for case in &cases.cases {
                let _ = write!(out, "{}, ", case.name);
            }
            out.push('}');
        }
        TypeDefKind::Flags(flags) => {
            named(out);
            for flag in &flags.flags {
                let _ = write!(out, "{}, ", flag.name);
            }
        }
        TypeDefKind::Tuple(tuple) => {
            out.push_str("tuple<");
            for ty in &tuple.types {
                describe(resolve, ty, out, depth + 1);
                out.push_str(", ");
            }
            out.push('>');
        }
        TypeDefKind::List(inner) => {
            out.push_str("list<");
            describe(resolve, inner, out, depth + 1);
            out.push('>');
        }
        TypeDefKind::Option(inner) => {
            out.push_str("option<");
            describe(resolve, inner, out, depth + 1);
            out.push('>');
        }
        TypeDefKind::Result(result) => {
            out.push_str("result<");
            for side in [&result.ok, &result.err] {
                match side {
                    Some(ty) => describe(resolve, ty, out, depth + 1),
                    None => out.push('_'),
                }
                out.push_str(", ");
            }
            out.push('>');
        }
        TypeDefKind::Handle(Handle::Own(id)) => handle(resolve, "own", *id, out),
        TypeDefKind::Handle(Handle::Borrow(id)) => handle(resolve, "borrow", *id, out),
        TypeDefKind::Resource => named(out),
        other => {
            let _ = write!(out, "{}", other.as_str());
        }
    }
}

fn handle(resolve: &Resolve, kind: &str, id: wit_parser::TypeId, out: &mut String) {
    // A resource is the same where its name and its interface's name are.
    let def = &resolve.types[id];
    let owner = match def.owner {
        TypeOwner::Interface(interface) => resolve.interfaces[interface]
            .name
            .clone()
            .unwrap_or_default(),
        TypeOwner::World(_) | TypeOwner::None => String::new(),
    };
    let _ = write!(out, "{kind}<{owner}.{}>", def.name.as_deref().unwrap_or(""));
}

fn primitive(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
        Type::Id(_) => "type",
    }
}

/// The part of `text` around its first difference from `other`.
fn brief<'a>(text: &'a str, other: &str) -> String {
    let same = text
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let start = text[..floor(text, same)]
        .rfind(['{', '(', ','])
        .map_or(0, |at| at + 1);
    let end = floor(text, (start + 80).min(text.len()));
    let part: &'a str = text[start..end].trim();
    if part.is_empty() {
        "nothing there".to_owned()
    } else {
        format!("`…{part}…`")
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_contract_loads_and_has_the_four_kinds() {
        let contract = Contract::load();
        for name in ["router", "flow", "provider", "connector", "kv", "http"] {
            assert!(contract.interface(name).is_some(), "{name}");
        }
    }

    #[test]
    fn versions_of_the_same_minor_are_compatible() {
        assert!(compatible("0.1.0") && compatible("0.1.7"));
        assert!(!compatible("0.2.0") && !compatible("1.1.0"));
    }
}
