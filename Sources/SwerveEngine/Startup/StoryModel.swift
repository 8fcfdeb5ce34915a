// From a configuration to a running engine: files, sizes, the memory table, errors with their exit codes.
// This room decides nothing about requests. Start with Engine+Start.swift.

import CSwerveStoryModel
package import SwerveCore

/// The embedded default: a small storyteller whose files are part of the binary (`Sources/CSwerveStoryModel/model`).
package enum StoryModel {
  package static let name = "story"

  /// Its files, read where the loader put them: no copy, no disk.
  package static let files: ModelFiles = {
    var files: [String: FileBytes] = [:]
    for file in UnsafeBufferPointer(start: swerve_story_files(), count: swerve_story_file_count()) {
      files[String(cString: file.name)] = FileBytes(
        immortal: UnsafeRawBufferPointer(start: file.bytes, count: file.length), isFileBacked: true)
    }
    return ModelFiles(place: "<embedded story model>", memory: files)
  }()
}
