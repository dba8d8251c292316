//! Who may watch by unicast: names and passwords, in the config or in a file of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::files;

/// Longest name in bytes.
const NAME_MAX: usize = 64;
/// Larger files are not lists of users.
const FILE_MAX: u64 = 64 << 10;

/// Where the users are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsersFrom {
    /// In the config.
    Config(Users),
    /// In a file: one `name:password` a line.
    File(PathBuf),
}

impl Default for UsersFrom {
    fn default() -> UsersFrom {
        UsersFrom::Config(Users::default())
    }
}

impl UsersFrom {
    /// The users; those of a file are read now.
    ///
    /// # Errors
    /// The file cannot be read, everybody can read it, or it is not a list of users.
    pub fn load(&self) -> Result<Users, UsersError> {
        match self {
            UsersFrom::Config(users) => Ok(users.clone()),
            UsersFrom::File(path) => read(path),
        }
    }
}

/// Why there are no users.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read.
    #[error("cannot read the users in {path}: {cause}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Everybody on this machine could read the passwords.
    #[error("everyone on this machine can read the passwords in {path}; run: chmod o= {path}", path = .0.display())]
    Public(PathBuf),
    /// A line is wrong.
    #[error("{path}, line {line}: {why}", path = .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// It is too large, or not text.
    #[error("{path} is not a list of users: write one name:password a line", path = .0.display())]
    NoList(PathBuf),
}

/// Names and passwords. Its debug output has no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<String, String>);

impl Users {
    /// Whether there are none: then everybody may watch.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The password of `name`.
    pub fn password(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Adds a user, or says what is wrong with the name or the password.
    pub(super) fn add(&mut self, name: &str, password: &str) -> Result<(), String> {
        // RFC 7617 §2: a user's name has no colon. Quotes and backslashes are written in different
        // ways by different players.
        let is_allowed = |b: u8| b.is_ascii_graphic() && !b":\"\\".contains(&b);
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_allowed) {
            return Err(format!(
                "a user's name has 1 to {NAME_MAX} printable ASCII characters other than space : \" \\"
            ));
        }
        super::check::token(password).map_err(|why| format!("the password of {name}: {why}"))?;
        match self.0.insert(name.to_owned(), password.to_owned()) {
            None => Ok(()),
            Some(_) => Err(format!("{name} is given twice; keep one")),
        }
    }

    #[cfg(test)]
    pub(crate) fn listed<const N: usize>(users: [(&str, &str); N]) -> Users {
        Users(users.map(|(n, p)| (n.to_owned(), p.to_owned())).into())
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn read(path: &Path) -> Result<Users, UsersError> {
    let fail = |cause| UsersError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let file = files::open_regular(path).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(UsersError::Public(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    let text = String::from_utf8(bytes).map_err(|_| UsersError::NoList(path.to_owned()))?;
    if text.len() as u64 > FILE_MAX {
        return Err(UsersError::NoList(path.to_owned()));
    }
    let users = parse(&text).map_err(|(line, why)| UsersError::Line {
        path: path.to_owned(),
        line,
        why,
    })?;
    // A file without users would open what it was to lock.
    if users.is_empty() {
        return Err(UsersError::NoList(path.to_owned()));
    }
    Ok(users)
}

/// One `name:password` a line; empty lines and those that begin with # do not count. Wrong: the
/// number of the line, and why.
fn parse(text: &str) -> Result<Users, (usize, String)> {
    let mut users = Users::default();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: String| (i + 1, why);
        let (name, password) = line
            .split_once(':')
            .ok_or_else(|| wrong("expected name:password".to_owned()))?;
        users.add(name, password).map_err(wrong)?;
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_file_is_one_user_a_line() {
        let users = parse("# who\n\nviewer:correct-horse\r\n nvr:battery:staple \n").unwrap();
        assert_eq!(users.password("viewer"), Some("correct-horse"));
        assert_eq!(users.password("nvr"), Some("battery:staple"));
        assert_eq!((users.len(), users.password("x")), (2, None));
        assert_eq!(format!("{users:?}"), r#"{"nvr", "viewer"}"#);
        let wrong = |text: &str| parse(text).unwrap_err();
        assert_eq!(wrong("viewer").0, 1);
        assert_eq!(wrong("#\nviewer:short").0, 2);
        assert_eq!(wrong("a b:correct-horse").0, 1);
        let twice = wrong("a:correct-horse\na:battery-staple");
        assert_eq!(twice, (2, "a is given twice; keep one".to_owned()));
    }

    #[test]
    fn a_file_that_everybody_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let from = UsersFrom::File(path.clone());
        assert!(matches!(from.load(), Err(UsersError::Unreadable { .. })));
        fs::write(&path, "viewer:correct-horse\n").unwrap();
        for (mode, is_fine) in [(0o644, false), (0o640, true), (0o600, true), (0o602, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(from.load().is_ok(), is_fine, "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let said = from.load().unwrap_err().to_string();
        assert!(
            said.ends_with(&format!("run: chmod o= {}", path.display())),
            "{said}"
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        for nothing in ["", "# nobody\n", "\u{0}\n"] {
            fs::write(&path, nothing).unwrap();
            assert!(from.load().is_err(), "{nothing:?}");
        }
    }
}
