import ArgumentParser
import Yams
package enum SwerveMain { package static func run() async {} }
