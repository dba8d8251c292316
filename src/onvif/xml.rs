//! XML as SOAP uses it (XML 1.0, Namespaces in XML 1.0): reads a small document into a tree, and
//! escapes text. Not for XML in general: document types, custom entities, processing instructions
//! and anything longer or deeper than a request needs are refused.

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{QName, ResolveResult};

/// The longest document in bytes.
pub const MAX_LEN: usize = 16 << 10;
/// How deep elements may be nested.
const MAX_DEPTH: usize = 32;
/// Most attributes of one element. Each is compared with all before it.
const MAX_ATTRIBUTES: usize = 64;

pub(super) const ENVELOPE: &str = "http://www.w3.org/2003/05/soap-envelope";
pub(super) const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// The version of WS-Addressing that WS-Discovery of 2005 uses.
pub(super) const ADDRESSING_2004: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
pub(super) const DISCOVERY: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery";
pub(super) const SECURITY: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
pub(super) const DEVICE: &str = "http://www.onvif.org/ver10/device/wsdl";
pub(super) const MEDIA: &str = "http://www.onvif.org/ver10/media/wsdl";
pub(super) const NETWORK: &str = "http://www.onvif.org/ver10/network/wsdl";

/// The namespaces that matter here. All others become one, so that a short document cannot cost
/// the memory of a long name for each element.
const KNOWN: [&str; 8] = [
    ENVELOPE,
    ADDRESSING,
    ADDRESSING_2004,
    DISCOVERY,
    SECURITY,
    DEVICE,
    MEDIA,
    NETWORK,
];

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum XmlError {
    /// It is too long.
    #[error("longer than {MAX_LEN} bytes")]
    TooLong,
    /// It is nested too deep.
    #[error("elements are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// An element has too many attributes.
    #[error("an element has more than {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes,
    /// SOAP 1.2 Part 1, §5: "The XML infoset of a SOAP message MUST NOT contain a document type
    /// declaration" nor processing instructions; without the former there are no entities but
    /// XML's own.
    #[error("{0} is not allowed in SOAP")]
    Forbidden(&'static str),
    /// It is not XML.
    #[error("not well-formed XML in UTF-8")]
    Malformed,
}

/// A name with its namespace: one of [`KNOWN`], or empty for any other or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) namespace: &'static str,
    pub(super) local: String,
}

/// An element with its content.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) name: Name,
    /// Local names and values of its attributes, without namespace declarations.
    attributes: Vec<(String, String)>,
    /// All text directly in it, without the white space around it.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
    /// `text` as a list of names; only the element `Types` has one.
    pub(super) types: Vec<Name>,
}

impl Element {
    /// The first child with this local name.
    pub(super) fn child(&self, local: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name.local == local)
    }

    /// The text of the first child with this local name.
    pub(super) fn text_of(&self, local: &str) -> Option<&str> {
        self.child(local).map(|child| child.text.as_str())
    }

    pub(super) fn attribute(&self, local: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(name, _)| name == local);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        self.name.namespace == namespace && self.name.local == local
    }
}

/// Parses a document.
///
/// # Errors
/// It is not XML, or not allowed in SOAP.
pub(super) fn read(document: &[u8]) -> Result<Element, XmlError> {
    if document.len() > MAX_LEN {
        return Err(XmlError::TooLong);
    }
    let document = std::str::from_utf8(document).map_err(|_| XmlError::Malformed)?;
    let mut reader = NsReader::from_str(document.trim_start_matches('\u{feff}'));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().map_err(|_| XmlError::Malformed)? {
            Event::Start(start) => {
                if open.len() == MAX_DEPTH {
                    return Err(XmlError::TooDeep);
                }
                open.push(element(&reader, &start)?);
            }
            Event::Empty(start) => {
                let element = element(&reader, &start)?;
                close(&mut open, &mut root, element)?;
            }
            Event::End(_) => {
                let mut element = open.pop().ok_or(XmlError::Malformed)?;
                element.text = element.text.trim().to_owned();
                if element.name.local == "Types" {
                    let words = element.text.split_whitespace();
                    element.types = words.map(|word| qualified(&reader, word)).collect();
                }
                close(&mut open, &mut root, element)?;
            }
            Event::Text(text) => {
                let text = text.xml10_content().map_err(|_| XmlError::Malformed)?;
                add(&mut open, &text)?;
            }
            Event::CData(text) => {
                let text = text.xml10_content().map_err(|_| XmlError::Malformed)?;
                add(&mut open, &text)?;
            }
            Event::GeneralRef(reference) => add(&mut open, &referenced(&reference)?)?,
            Event::DocType(_) => return Err(XmlError::Forbidden("a document type")),
            Event::PI(_) => return Err(XmlError::Forbidden("a processing instruction")),
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if open.is_empty() => return root.ok_or(XmlError::Malformed),
            Event::Eof => return Err(XmlError::Malformed),
        }
    }
}

fn element(reader: &NsReader<&[u8]>, start: &BytesStart) -> Result<Element, XmlError> {
    let mut attributes = Vec::new();
    for (n, attribute) in start.attributes().enumerate() {
        if n == MAX_ATTRIBUTES {
            return Err(XmlError::TooManyAttributes);
        }
        let attribute = attribute.map_err(|_| XmlError::Malformed)?;
        // Only XML's own entities: others would need a document type.
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let value = value.map_err(|_| XmlError::Malformed)?.into_owned();
        if attribute.key.as_namespace_binding().is_none() {
            let name = String::from_utf8_lossy(attribute.key.local_name().as_ref()).into_owned();
            attributes.push((name, value));
        }
    }
    let (namespace, local) = reader.resolver().resolve_element(start.name());
    Ok(Element {
        name: Name {
            namespace: known(&namespace)?,
            local: String::from_utf8_lossy(local.as_ref()).into_owned(),
        },
        attributes,
        text: String::new(),
        children: Vec::new(),
        types: Vec::new(),
    })
}

/// What the name `word` means at this place in the document.
fn qualified(reader: &NsReader<&[u8]>, word: &str) -> Name {
    let (namespace, local) = reader.resolver().resolve_element(QName(word.as_bytes()));
    Name {
        namespace: known(&namespace).unwrap_or_default(),
        local: String::from_utf8_lossy(local.as_ref()).into_owned(),
    }
}

fn known(namespace: &ResolveResult) -> Result<&'static str, XmlError> {
    match namespace {
        ResolveResult::Bound(namespace) => {
            let found = KNOWN.iter().find(|k| k.as_bytes() == namespace.0);
            Ok(found.copied().unwrap_or_default())
        }
        ResolveResult::Unbound => Ok(""),
        // Namespaces in XML 1.0 §5: a prefix must have been declared.
        ResolveResult::Unknown(_) => Err(XmlError::Malformed),
    }
}

/// Adds a complete element to its parent.
fn close(
    open: &mut [Element],
    root: &mut Option<Element>,
    element: Element,
) -> Result<(), XmlError> {
    if let Some(parent) = open.last_mut() {
        parent.children.push(element);
        return Ok(());
    }
    match root.replace(element) {
        None => Ok(()),
        Some(_) => Err(XmlError::Malformed),
    }
}

/// Adds text to the innermost element. Outside the root only white space is allowed.
fn add(open: &mut [Element], text: &str) -> Result<(), XmlError> {
    if !text.chars().all(is_char) {
        return Err(XmlError::Malformed);
    }
    match open.last_mut() {
        Some(element) => element.text += text,
        None if text.trim().is_empty() => {}
        None => return Err(XmlError::Malformed),
    }
    Ok(())
}

fn referenced(reference: &BytesRef) -> Result<String, XmlError> {
    let character = reference.resolve_char_ref();
    if let Some(character) = character.map_err(|_| XmlError::Malformed)? {
        return Ok(character.into());
    }
    let name = reference.decode().map_err(|_| XmlError::Malformed)?;
    let predefined = quick_xml::escape::resolve_predefined_entity(&name);
    predefined
        .map(str::to_owned)
        .ok_or(XmlError::Forbidden("an entity"))
}

/// XML 1.0 §2.2.
fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Text escaped for an element or an attribute.
pub(super) fn escaped(text: &str) -> String {
    let legal = |c| if is_char(c) { c } else { '\u{fffd}' };
    let text: String = text.chars().map(legal).collect();
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(document: &str) -> XmlError {
        read(document.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_document_becomes_a_tree() {
        let root = read(
            "\u{feff}<?xml version='1.0' encoding='UTF-8'?>\n<!-- hello -->\
             <e:Envelope xmlns:e='http://www.w3.org/2003/05/soap-envelope' xmlns='urn:other' e:a='1 &amp; 2'>\r\n\
             <Body>  a &lt;&#x41;<![CDATA[<b>]]> <tds:Empty xmlns:tds='http://www.onvif.org/ver10/device/wsdl'/> z </Body>\
             </e:Envelope>\n "
                .as_bytes(),
        )
        .unwrap();
        assert!(root.is(ENVELOPE, "Envelope"));
        assert_eq!(root.attribute("a"), Some("1 & 2"));
        assert_eq!(root.attribute("e"), None);
        let body = root.child("Body").unwrap();
        assert_eq!(body.name.namespace, "");
        assert_eq!(body.text, "a <A<b>  z");
        assert!(body.children[0].is(DEVICE, "Empty"));
        assert_eq!(root.text_of("Nothing"), None);
    }

    #[test]
    fn types_are_names_with_namespaces() {
        let root = read(
            b"<a xmlns:x='http://www.onvif.org/ver10/network/wsdl'><Types>x:NetworkVideoTransmitter y:Other\n z</Types></a>",
        )
        .unwrap();
        let types = &root.child("Types").unwrap().types;
        let names: Vec<_> = types
            .iter()
            .map(|t| (t.namespace, t.local.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                (NETWORK, "NetworkVideoTransmitter"),
                ("", "Other"),
                ("", "z")
            ]
        );
    }

    #[test]
    fn what_is_no_xml_is_refused() {
        let bad = [
            "",
            " ",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a></a><b></b>",
            "<a/>text",
            "<a b='1' b='2'/>",
            "<a b=1/>",
            "<a b='&nothing;'/>",
            "<p:a/>",
            "<a>\u{1}</a>",
            "<a>&#1;</a>",
            "<a>&#x110000;</a>",
            "<a",
            "<a><![CDATA[",
        ];
        for document in bad {
            assert_eq!(refused(document), XmlError::Malformed, "{document:?}");
        }
        assert_eq!(read(b"<a>\xff</a>").unwrap_err(), XmlError::Malformed);
        assert_eq!(
            read(b"\xff\xfe<\0a\0/\0>\0").unwrap_err(),
            XmlError::Malformed
        );
    }

    #[test]
    fn what_soap_forbids_is_refused() {
        let entity = XmlError::Forbidden("an entity");
        let dtd = XmlError::Forbidden("a document type");
        let bomb = "<!DOCTYPE a [<!ENTITY b 'bbbb'><!ENTITY c '&b;&b;&b;'>]><a>&c;</a>";
        let external = "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>";
        assert_eq!(refused(bomb), dtd);
        assert_eq!(refused(external), dtd);
        assert_eq!(refused("<!DOCTYPE a><a/>"), dtd);
        assert_eq!(refused("<a>&b;</a>"), entity);
        let instruction = XmlError::Forbidden("a processing instruction");
        assert_eq!(refused("<a><?b c?></a>"), instruction);
    }

    #[test]
    fn documents_are_bounded() {
        let nested = |depth| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(refused(&nested(MAX_DEPTH + 1)), XmlError::TooDeep);
        let long = |len: usize| format!("<a>{}</a>", "x".repeat(len - 7));
        assert!(read(long(MAX_LEN).as_bytes()).is_ok());
        assert_eq!(refused(&long(MAX_LEN + 1)), XmlError::TooLong);
        let attributes: String = (0..=MAX_ATTRIBUTES).map(|n| format!(" a{n}=''")).collect();
        let refusal = refused(&format!("<a{attributes}/>"));
        assert_eq!(refusal, XmlError::TooManyAttributes);
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["porch", "a<b>&'\"c", "Straße 7", "]]>"] {
            let document = format!("<a b=\"{0}\">{0}</a>", escaped(text));
            let root = read(document.as_bytes()).unwrap();
            assert_eq!(
                (root.text.as_str(), root.attribute("b")),
                (text, Some(text))
            );
        }
        assert_eq!(escaped("a\u{0}\u{ffff}"), "a\u{fffd}\u{fffd}");
    }
}
