package import SwerveCore
import SwerveTiers

extension Journal {
  /// The journal that a configuration asks for; nil: none.
  ///
  /// - Throws: for a folder or a key that cannot be used.
  package static func opened(
    by configuration: EngineConfiguration, onNotice: @escaping @Sendable (String) -> Void
  ) throws(EngineStartError) -> Journal? {
    guard let folder = configuration.journalFolder else { return nil }
    do {
      let master = try configuration.kvKeyFile.map { path throws(TierError) in try MasterKey(file: path) }
      return try Journal(
        folder: folder, master: master, seconds: configuration.journalSeconds, onNotice: onNotice)
    } catch {
      throw .configuration(["\(error)"])
    }
  }
}
