//! The requests of a client's kernel.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, OFlags};

use super::export::{Answer, BELIEVED, View, errno, kind, mode};

/// How long the attributes are believed: those of a file are asked for when it is opened, and here at every use.
fn believed(attributes: &FileAttr) -> Duration {
    if attributes.kind == FileType::Directory {
        BELIEVED
    } else {
        Duration::ZERO
    }
}

fn entry(reply: ReplyEntry, found: Answer<FileAttr>) {
    match found {
        Ok(attributes) => reply.entry_with_ttls(&believed(&attributes), &BELIEVED, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn attr(reply: ReplyAttr, found: Answer<FileAttr>) {
    match found {
        Ok(attributes) => reply.attr(&believed(&attributes), &attributes),
        Err(error) => reply.error(error),
    }
}

fn done(reply: ReplyEmpty, done: Answer<()>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for View {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = config.add_capabilities(InitFlags::FUSE_FLOCK_LOCKS);
        refused.map_err(|_| io::ErrorKind::Unsupported.into())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.state().look_up(parent, name));
    }

    fn forget(&self, _: &Request, ino: INodeNo, names: u64) {
        self.state().forget(ino, names);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attr(reply, self.state().stat(ino));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        bits: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut state = self.state();
        let mut change = || -> Answer<FileAttr> {
            let held = format!("/proc/self/fd/{}", state.node(ino)?.fd.as_raw_fd());
            if let Some(bits) = bits {
                rustix::fs::chmod(&held, mode(bits)).map_err(errno)?;
            }
            if uid.is_some() || gid.is_some() {
                std::os::unix::fs::chown(&held, uid, gid)?;
            }
            if let Some(size) = size {
                File::options().write(true).open(&held)?.set_len(size)?;
            }
            state.stat(ino)
        };
        attr(reply, change());
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let mut state = self.state();
        let target = state
            .node(ino)
            .and_then(|node| rustix::fs::readlinkat(&node.fd, "", Vec::new()).map_err(errno));
        match target {
            Ok(target) => reply.data(target.to_bytes()),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, bits: u32, umask: u32, reply: ReplyEntry) {
        let made =
            self.change(|state| rustix::fs::mkdirat(&state.node(parent)?.fd, name, mode(bits & !umask)).map_err(errno));
        entry(reply, made.and_then(|()| self.state().look_up(parent, name)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.change(|state| state.unlink(parent, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed =
            self.change(|state| rustix::fs::unlinkat(&state.node(parent)?.fd, name, AtFlags::REMOVEDIR).map_err(errno));
        done(reply, removed);
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let made = self.change(|state| rustix::fs::symlinkat(target, &state.node(parent)?.fd, name).map_err(errno));
        entry(reply, made.and_then(|()| self.state().look_up(parent, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let renamed = self.change(|state| {
            let to = state.node(to)?.fd.try_clone().map_err(Errno::from)?;
            rustix::fs::renameat(&state.node(parent)?.fd, name, &to, new).map_err(errno)
        });
        done(reply, renamed);
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.state().open(ino, flags.0) {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        bits: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mut state = self.state();
        let mut create = || -> Answer<(FileAttr, FileHandle)> {
            let exclusive = OFlags::from_bits_retain(flags.cast_unsigned()) & OFlags::EXCL;
            let how = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | exclusive;
            rustix::fs::openat(&state.node(parent)?.fd, name, how, mode(bits & !umask)).map_err(errno)?;
            let made = state.look_up(parent, name)?;
            let flags = flags & !OFlags::EXCL.bits().cast_signed();
            Ok((made, state.open(made.ino, flags)?))
        };
        match create() {
            Ok((made, handle)) => reply.created(&BELIEVED, &made, Generation(0), handle, FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.state();
        let mut bytes = vec![0; size as usize];
        let read = state.node(ino).map(|_| ()).and_then(|()| {
            let file = state.files.get(&handle.0).ok_or(Errno::EBADF)?;
            file.read_at(&mut bytes, offset).map_err(Errno::from)
        });
        match read {
            Ok(length) => reply.data(&bytes[..length]),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state();
        let written = state.node(ino).map(|_| ()).and_then(|()| {
            let file = state.files.get(&handle.0).ok_or(Errno::EBADF)?;
            file.write_all_at(bytes, offset).map_err(Errno::from)
        });
        match written {
            Ok(()) => reply.written(bytes.len().try_into().unwrap()),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        owner: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(owner) = owner {
            self.lock(ino, owner, None);
        }
        self.state().release(ino, handle);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.state().node(ino).map(|_| ()));
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.state().list(ino) {
            Err(error) => reply.error(error),
            Ok(entries) => {
                for (entry, next) in entries.iter().zip(1_u64..).skip(offset.try_into().unwrap()) {
                    let name = OsStr::from_bytes(entry.file_name().to_bytes());
                    if reply.add(INodeNo(entry.ino()), next, kind(entry.file_type()), name) {
                        break;
                    }
                }
                reply.ok();
            }
        }
    }

    fn setlk(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        _: u64,
        _: u64,
        typ: i32,
        _: u32,
        _: bool,
        reply: ReplyEmpty,
    ) {
        const SHARED: i32 = 0;
        const ALONE: i32 = 1;
        let before = self.server.lock().unwrap().before_lock.take();
        if let Some(act) = before {
            act();
        }
        if let Err(error) = self.state().node(ino) {
            return reply.error(error);
        }
        let wanted = [SHARED, ALONE].contains(&typ).then_some(typ == ALONE);
        done(reply, self.lock(ino, owner, wanted).then_some(()).ok_or(Errno::EAGAIN));
    }
}
