//! SOAP 1.2 envelopes: reads requests, and writes answers and faults. The services know the
//! operations.

use super::username::UsernameToken;
use super::xml::{self, Element, escaped};

/// The beginning of every answer. ONVIF Core Specification §5.3 has the prefixes.
const OPENING: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <env:Envelope xmlns:env=\"http://www.w3.org/2003/05/soap-envelope\"\
    \x20xmlns:ter=\"http://www.onvif.org/ver10/error\"\
    \x20xmlns:tt=\"http://www.onvif.org/ver10/schema\"\
    \x20xmlns:tds=\"http://www.onvif.org/ver10/device/wsdl\"\
    \x20xmlns:trt=\"http://www.onvif.org/ver10/media/wsdl\"><env:Body>";
const CLOSING: &str = "</env:Body></env:Envelope>\n";

/// The content type of requests and answers. SOAP 1.2 Part 2, §7.
pub const CONTENT_TYPE: &str = "application/soap+xml; charset=utf-8";

/// A request to a service, and who sent it.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) operation: Element,
    /// The user's token, if SOAP's header has one.
    pub token: Option<UsernameToken>,
}

impl Request {
    /// Parses an envelope.
    ///
    /// # Errors
    /// The fault to answer with: it is not an envelope, is of another version, or has an unknown
    /// header that must be understood.
    pub fn read(body: &[u8]) -> Result<Request, Fault> {
        let root = xml::read(body).map_err(|error| Fault::malformed(&error.to_string()))?;
        if root.name.local != "Envelope" {
            return Err(Fault::malformed("not a SOAP envelope"));
        }
        // SOAP 1.2 Part 1, §2.8.
        if root.name.namespace != xml::ENVELOPE {
            let reason = "only SOAP 1.2 is understood";
            return Err(Fault::new("env:VersionMismatch", &[], reason));
        }
        let header = root.child("Header");
        header.map_or(Ok(()), must_understand)?;
        let token = header.and_then(UsernameToken::of);
        let mut parts = root.children.into_iter();
        let body = parts.find(|child| child.is(xml::ENVELOPE, "Body"));
        let operation = body.and_then(|body| body.children.into_iter().next());
        let operation = operation.ok_or_else(|| Fault::malformed("the SOAP body is empty"))?;
        Ok(Request { operation, token })
    }

    /// The text of an argument.
    pub(super) fn argument(&self, name: &str) -> Option<&str> {
        self.operation.text_of(name)
    }
}

/// SOAP 1.2 Part 1, §2.4: a message is refused if it has an unknown header that must be understood.
fn must_understand(header: &Element) -> Result<(), Fault> {
    let understood = [xml::SECURITY, xml::ADDRESSING, xml::ADDRESSING_2004];
    let refused = header.children.iter().find(|block| {
        let must = block.attribute("mustUnderstand");
        must.is_some_and(|must| matches!(must, "1" | "true"))
            && !understood.contains(&block.name.namespace)
    });
    match refused {
        None => Ok(()),
        Some(block) => Err(Fault::new(
            "env:MustUnderstand",
            &[],
            &format!("the header {} is not understood", block.name.local),
        )),
    }
}

/// Why a request is not answered. SOAP 1.2 Part 1, §5.4; ONVIF Core Specification §5.8.2 has the
/// subcodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    code: &'static str,
    subcodes: &'static [&'static str],
    reason: String,
}

impl Fault {
    fn new(code: &'static str, subcodes: &'static [&'static str], reason: &str) -> Fault {
        Fault {
            code,
            subcodes,
            reason: reason.to_owned(),
        }
    }

    /// Something is wrong with the request.
    pub(super) fn sender(subcodes: &'static [&'static str], reason: &str) -> Fault {
        Fault::new("env:Sender", subcodes, reason)
    }

    fn malformed(reason: &str) -> Fault {
        Fault::sender(&["ter:WellFormed"], reason)
    }

    /// The request is valid, but lancam cannot do it.
    pub(super) fn unsupported(subcodes: &'static [&'static str], reason: &str) -> Fault {
        Fault::new("env:Receiver", subcodes, reason)
    }

    /// There is no such operation here.
    pub(super) fn no_such_action(name: &str) -> Fault {
        let name: String = name.chars().take(64).collect();
        Fault::unsupported(
            &["ter:ActionNotSupported"],
            &format!("lancam does not answer {name}"),
        )
    }

    /// The client may not ask this, or has not logged in.
    pub fn not_authorized(reason: &str) -> Fault {
        Fault::sender(&["ter:NotAuthorized"], reason)
    }
}

/// What to send back over HTTP, with [`CONTENT_TYPE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The envelope.
    pub body: String,
}

impl From<Result<String, Fault>> for Reply {
    fn from(answer: Result<String, Fault>) -> Reply {
        match answer {
            Ok(body) => Reply {
                status: 200,
                body: [OPENING, &body, CLOSING].concat(),
            },
            Err(fault) => fault.into(),
        }
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Reply {
        // SOAP 1.2 Part 2, §7.5.2.2, table 20.
        let status = match fault.code {
            "env:Sender" => 400,
            _ => 500,
        };
        let mut code = String::new();
        for subcode in fault.subcodes.iter().rev() {
            code = format!("<env:Subcode><env:Value>{subcode}</env:Value>{code}</env:Subcode>");
        }
        let body = format!(
            "{OPENING}<env:Fault><env:Code><env:Value>{}</env:Value>{code}</env:Code>\
             <env:Reason><env:Text xml:lang=\"en\">{}</env:Text></env:Reason></env:Fault>{CLOSING}",
            fault.code,
            escaped(&fault.reason)
        );
        Reply { status, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str, body: &str) -> Result<Request, Fault> {
        let env = xml::ENVELOPE;
        let text =
            format!("<s:Envelope xmlns:s='{env}'>{header}<s:Body>{body}</s:Body></s:Envelope>");
        Request::read(text.as_bytes())
    }

    fn code(refused: Result<Request, Fault>) -> &'static str {
        refused.unwrap_err().code
    }

    #[test]
    fn the_first_child_of_the_body_is_asked_for() {
        let request = read("", "<a><b> c </b></a><d/>").unwrap();
        assert_eq!(request.operation.name.local, "a");
        assert_eq!(request.argument("b"), Some("c"));
        assert_eq!(request.token, None);
    }

    #[test]
    fn what_is_no_request_is_the_senders_fault() {
        assert_eq!(code(read("", "")), "env:Sender");
        assert_eq!(code(Request::read(b"<a/>")), "env:Sender");
        assert_eq!(code(Request::read(b"GET /")), "env:Sender");
        let empty = format!("<Envelope xmlns='{}'/>", xml::ENVELOPE);
        assert_eq!(code(Request::read(empty.as_bytes())), "env:Sender");
        let first = b"<Envelope xmlns='http://schemas.xmlsoap.org/soap/envelope/'><Body><a/></Body></Envelope>";
        assert_eq!(code(Request::read(first)), "env:VersionMismatch");
    }

    #[test]
    fn headers_that_must_be_understood_are_or_the_request_is_refused() {
        let header =
            |attribute| format!("<s:Header><x:To xmlns:x='urn:x' {attribute}/></s:Header>");
        let must = header("s:mustUnderstand='true'");
        assert_eq!(code(read(&must, "<a/>")), "env:MustUnderstand");
        assert!(read(&header("s:mustUnderstand='0'"), "<a/>").is_ok());
        let known = must.replace("urn:x", xml::ADDRESSING);
        assert!(read(&known, "<a/>").is_ok());
    }

    #[test]
    fn faults_are_written_as_soap_wants_them() {
        let reply = Reply::from(Fault::sender(
            &["ter:InvalidArgVal", "ter:NoProfile"],
            "a < b",
        ));
        assert_eq!(reply.status, 400);
        let root = xml::read(reply.body.as_bytes()).unwrap();
        let fault = root.child("Body").and_then(|b| b.child("Fault")).unwrap();
        let code = fault.child("Code").unwrap();
        assert_eq!(code.text_of("Value"), Some("env:Sender"));
        let subcode = code.child("Subcode").unwrap();
        assert_eq!(subcode.text_of("Value"), Some("ter:InvalidArgVal"));
        let inner = subcode.child("Subcode").unwrap();
        assert_eq!(inner.text_of("Value"), Some("ter:NoProfile"));
        assert_eq!(
            fault.child("Reason").unwrap().text_of("Text"),
            Some("a < b")
        );
        assert_eq!(Reply::from(Fault::no_such_action("x")).status, 500);
    }
}
