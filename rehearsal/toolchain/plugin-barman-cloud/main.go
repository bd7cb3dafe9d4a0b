// The operator's side of the plugin barman-cloud, without what runs beside the instances.
package main

import (
	"fmt"
	"os"

	"github.com/cloudnative-pg/machinery/pkg/log"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cloudnative-pg/plugin-barman-cloud/internal/cmd/operator"
)

func main() {
	// As in the plugin's own cmd/manager/main.go.
	cobra.EnableTraverseRunHooks = true
	flags := &log.Flags{}
	root := &cobra.Command{
		Use: "manager [cmd]",
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			flags.ConfigureLogging()
			cmd.SetContext(log.IntoContext(cmd.Context(), log.GetLogger()))
		},
	}
	flags.AddFlags(root.PersistentFlags())
	root.AddCommand(operator.NewCmd())
	if err := root.ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
