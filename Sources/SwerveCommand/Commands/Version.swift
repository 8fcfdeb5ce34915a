/// The version of this build, as `--version`, `/version` and reports show it.
package enum Version {
  package static let text = "0.1.0"
}
