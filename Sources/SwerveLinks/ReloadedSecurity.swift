import Foundation
package import SwerveTransfer
import Synchronization

/// Certificates that are read again when their files have changed, so that they can be renewed while workers run: links made
/// from then on show the new ones, and those that are there stay. Files that do not fit each other, as between two that
/// are being replaced, change nothing.
package final class ReloadedSecurity: SocketSecurity {
  /// What tells a file from another one of the same name.
  private struct Stamp: Equatable {
    var inode: UInt64
    var size: Int64
    var seconds: Int
    var nanoseconds: Int

    /// nil where there is none.
    init?(_ path: String) {
      var status = stat()
      guard stat(path, &status) == 0 else { return nil }
      inode = UInt64(status.st_ino)
      size = Int64(status.st_size)
      #if canImport(Darwin)
        (seconds, nanoseconds) = (status.st_mtimespec.tv_sec, status.st_mtimespec.tv_nsec)
      #else
        (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
      #endif
    }
  }

  private struct State {
    var current: TLSSecurity
    var stamps: [Stamp?]
  }

  private let files: TLSSecurity.Files
  private let role: LinkRole
  private let onNotice: @Sendable (String) -> Void
  private let state: Mutex<State>

  /// - Parameter onNotice: hears, in one sentence, of certificates that were read again, or cannot be.
  /// - Throws: as `TLSSecurity`.
  package init(
    _ files: TLSSecurity.Files, role: LinkRole, onNotice: @escaping @Sendable (String) -> Void
  ) throws(LinkFileError) {
    self.files = files
    self.role = role
    self.onNotice = onNotice
    // Taken before: what changes meanwhile is read again.
    let stamps = Self.stamps(of: files)
    state = Mutex(State(current: try TLSSecurity(files, role: role), stamps: stamps))
  }

  private static func stamps(of files: TLSSecurity.Files) -> [Stamp?] {
    [files.certificate, files.key, files.authority].map { Stamp($0) }
  }

  package var identity: PeerIdentity { state.withLock { $0.current.identity } }

  package func secure(
    _ socket: StreamSocket, as side: SocketSide, peer: String, within seconds: Double
  ) throws(TransferError) -> SecuredSocket {
    try latest().secure(socket, as: side, peer: peer, within: seconds)
  }

  private func latest() -> TLSSecurity {
    let stamps = Self.stamps(of: files)
    let (security, notice) = state.withLock { state -> (TLSSecurity, String?) in
      if stamps == state.stamps { return (state.current, nil) }
      state.stamps = stamps
      do throws(LinkFileError) {
        let new = try TLSSecurity(files, role: role)
        guard new.identity.cluster == state.current.identity.cluster else {
          throw LinkFileError(
            "\(files.certificate) is of cluster \(new.identity.cluster) now; start this worker anew to be of another one"
          )
        }
        state.current = new
        return (new, "\(files.certificate) was read again and is shown on new links")
      } catch {
        return (state.current, "\(error); new links go on with the certificate that was read before")
      }
    }
    if let notice { onNotice(notice) }
    return security
  }
}
