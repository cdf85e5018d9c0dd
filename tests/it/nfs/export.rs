//! A directory as clients of NFS see it: each mount is a machine of its own, with a kernel that believes what it knows of
//! names for a while.
//!
//! - A removed file that this client has open stays as `.nfs…` until it is closed; one that another client removed is stale.
//! - A request that the server is sent twice is answered the second time as the second one.
//! - Locks are the server's, and renaming has no flags.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Config, Errno, FileAttr, FileHandle, FileType, INodeNo, LockOwner, SessionACL};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};

/// How long a client believes what a name leads to.
pub(super) const BELIEVED: Duration = Duration::from_secs(3);

/// A client, and what its kernel calls the owner of a lock.
type Owner = (u32, u64);

/// What the server knows of its clients.
#[derive(Default)]
pub(super) struct Server {
    /// Who holds the lock of a file, and whether alone.
    locks: HashMap<u64, Vec<(Owner, bool)>>,
    /// How many requests that change names have come, of which every n-th is sent twice.
    changes: u32,
    resent: Option<u32>,
    clients: u32,
    /// What happens before the next lock is asked for.
    pub(super) before_lock: Option<Box<dyn FnOnce() + Send>>,
}

impl Server {
    pub(super) fn before_lock(&mut self, act: impl FnOnce() + Send + 'static) {
        self.before_lock = Some(Box::new(act));
    }
}

/// One client's view, mounted until it is dropped.
pub(super) struct Client {
    /// Goes first: what is removed with the directory must not be the server's.
    _session: fuser::BackgroundSession,
    pub(super) dir: tempfile::TempDir,
}

impl Client {
    /// Mounts a directory of the server's; `None` where this machine does not let us.
    pub(super) fn mount(server: &Arc<Mutex<Server>>, exported: &Path) -> io::Result<Client> {
        let dir = tempfile::tempdir()?;
        let number = {
            let mut server = server.lock().unwrap();
            server.clients += 1;
            server.clients
        };
        let root = rustix::fs::open(exported, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        let root = Node {
            fd: root,
            names: 1,
            open: 0,
            silly: None,
        };
        let view = View {
            number,
            server: Arc::clone(server),
            state: Mutex::new(State {
                nodes: HashMap::from([(INodeNo::ROOT.0, root)]),
                files: HashMap::new(),
                next: 1,
            }),
        };
        let mut config = Config::default();
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(view, dir.path(), &config)?;
        Ok(Client { _session: session, dir })
    }
}

/// A server every so many of whose requests that change names are sent twice.
pub(super) fn server(resent: Option<u32>) -> Arc<Mutex<Server>> {
    Arc::new(Mutex::new(Server {
        resent,
        ..Server::default()
    }))
}

/// What a client knows a file or a directory by.
pub(super) struct Node {
    pub(super) fd: OwnedFd,
    /// How often the kernel was told of it.
    names: u64,
    open: u32,
    /// The directory and the name under which it stays until it is closed.
    silly: Option<(u64, OsString)>,
}

pub(super) struct State {
    nodes: HashMap<u64, Node>,
    pub(super) files: HashMap<u64, File>,
    next: u64,
}

pub(super) struct View {
    number: u32,
    pub(super) server: Arc<Mutex<Server>>,
    state: Mutex<State>,
}

pub(super) type Answer<T> = Result<T, Errno>;

pub(super) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

pub(super) fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits & 0o7777)
}

fn moment(seconds: i64, nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::new(seconds.try_into().unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
}

pub(super) fn kind(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}

fn attributes(ino: u64, stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: stat.st_size.try_into().unwrap(),
        blocks: stat.st_blocks.try_into().unwrap(),
        atime: moment(stat.st_atime, stat.st_atime_nsec),
        mtime: moment(stat.st_mtime, stat.st_mtime_nsec),
        ctime: moment(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        perm: u16::try_from(stat.st_mode & 0o7777).unwrap(),
        nlink: u32::try_from(stat.st_nlink).unwrap(),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl State {
    /// The server's handle of something that is still there.
    pub(super) fn node(&mut self, ino: INodeNo) -> Answer<&mut Node> {
        let node = self.nodes.get_mut(&ino.0).ok_or(Errno::ESTALE)?;
        let is_gone = rustix::fs::fstat(&node.fd).map_err(errno)?.st_nlink == 0;
        if is_gone { Err(Errno::ESTALE) } else { Ok(node) }
    }

    pub(super) fn stat(&mut self, ino: INodeNo) -> Answer<FileAttr> {
        let node = self.node(ino)?;
        Ok(attributes(ino.0, &rustix::fs::fstat(&node.fd).map_err(errno)?))
    }

    /// What a name leads to, known from now on.
    pub(super) fn look_up(&mut self, parent: INodeNo, name: &OsStr) -> Answer<FileAttr> {
        let parent = self.node(parent)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::empty()).map_err(errno)?;
        let stat = rustix::fs::fstat(&fd).map_err(errno)?;
        let node = self.nodes.entry(stat.st_ino).or_insert(Node {
            fd,
            names: 0,
            open: 0,
            silly: None,
        });
        node.names += 1;
        Ok(attributes(stat.st_ino, &stat))
    }

    pub(super) fn open(&mut self, ino: INodeNo, flags: i32) -> Answer<FileHandle> {
        let node = self.node(ino)?;
        // Where to write is the client's to say.
        let flags =
            OFlags::from_bits_retain(flags.cast_unsigned()) - OFlags::APPEND - OFlags::NOFOLLOW - OFlags::CREATE;
        let held = format!("/proc/self/fd/{}", node.fd.as_raw_fd());
        let file = rustix::fs::open(held, flags | OFlags::CLOEXEC, Mode::empty()).map_err(errno)?;
        node.open += 1;
        self.next += 1;
        self.files.insert(self.next, file.into());
        Ok(FileHandle(self.next))
    }

    /// Removes a file, or keeps it under another name while this client has it open.
    pub(super) fn unlink(&mut self, parent: INodeNo, name: &OsStr) -> Answer<()> {
        let dir = self.node(parent)?.fd.try_clone().map_err(Errno::from)?;
        let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(errno)?;
        self.next += 1;
        let silly = OsString::from(format!(".nfs{:016x}{:08x}", stat.st_ino, self.next));
        match self.nodes.get_mut(&stat.st_ino) {
            Some(node) if node.silly.is_some() => Err(Errno::EBUSY),
            Some(node) if node.open > 0 => {
                rustix::fs::renameat(&dir, name, &dir, &silly).map_err(errno)?;
                node.silly = Some((parent.0, silly));
                Ok(())
            }
            _ => rustix::fs::unlinkat(&dir, name, AtFlags::empty()).map_err(errno),
        }
    }

    pub(super) fn forget(&mut self, ino: INodeNo, names: u64) {
        let Some(node) = self.nodes.get_mut(&ino.0).filter(|_| ino != INodeNo::ROOT) else {
            return;
        };
        node.names = node.names.saturating_sub(names);
        if node.names == 0 {
            self.nodes.remove(&ino.0);
        }
    }

    pub(super) fn release(&mut self, ino: INodeNo, handle: FileHandle) {
        self.files.remove(&handle.0);
        let Some(node) = self.nodes.get_mut(&ino.0) else { return };
        node.open -= 1;
        if node.open == 0
            && let Some((parent, name)) = node.silly.take()
            && let Some(parent) = self.nodes.get(&parent)
        {
            let _ = rustix::fs::unlinkat(&parent.fd, &name, AtFlags::empty());
        }
    }

    pub(super) fn list(&mut self, ino: INodeNo) -> Answer<Vec<rustix::fs::DirEntry>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.node(ino)?.fd, ".", flags, Mode::empty()).map_err(errno)?;
        let entries = rustix::fs::Dir::read_from(dir).map_err(errno)?;
        entries.collect::<Result<_, _>>().map_err(errno)
    }
}

impl View {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Does what a request asks for, twice where it is sent twice; the last answer is the client's.
    pub(super) fn change(&self, mut act: impl FnMut(&mut State) -> Answer<()>) -> Answer<()> {
        let is_resent = {
            let mut server = self.server.lock().unwrap();
            server.changes += 1;
            server.resent.is_some_and(|every| server.changes.is_multiple_of(every))
        };
        let mut state = self.state();
        let first = act(&mut state);
        if is_resent { act(&mut state) } else { first }
    }

    pub(super) fn lock(&self, ino: INodeNo, owner: LockOwner, wanted: Option<bool>) -> bool {
        let owner = (self.number, owner.0);
        let mut server = self.server.lock().unwrap();
        let holders = server.locks.entry(ino.0).or_default();
        let is_free = wanted.is_none_or(|alone| holders.iter().all(|(other, has)| *other == owner || !(alone || *has)));
        if is_free {
            holders.retain(|(other, _)| *other != owner);
            holders.extend(wanted.map(|alone| (owner, alone)));
        }
        is_free
    }
}
