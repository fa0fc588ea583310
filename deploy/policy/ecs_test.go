package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

var (
	byARN      = regexp.MustCompile(`^arn:aws[a-z-]*:(ssm|secretsmanager):[a-z0-9-]+:[0-9]{12}:`)
	secretName = regexp.MustCompile(`(?i)key|token|passw|secret|credential`)
)

// notRoot takes a user by number alone: a name means what the image says.
func notRoot(user string) bool {
	name, _, _ := bytes.Cut([]byte(user), []byte(":"))
	uid, err := strconv.Atoi(string(name))
	return err == nil && uid > 0
}

// taskFaults says what is wrong with a task of ECS.
func taskFaults(task *ecs.RegisterTaskDefinitionInput) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if task.NetworkMode != types.NetworkModeAwsvpc {
		fault("network %s: it has none of its own", task.NetworkMode)
	}
	if task.PidMode != "" || task.IpcMode != "" {
		fault("shares a namespace of the host or the task")
	}
	if aws.ToString(task.Cpu) == "" || aws.ToString(task.Memory) == "" {
		fault("no limit of cpu or memory")
	}
	if aws.ToString(task.TaskRoleArn) == "" || aws.ToString(task.TaskRoleArn) == aws.ToString(task.ExecutionRoleArn) {
		fault("yoyu has the rights of what starts it")
	}
	for _, v := range task.Volumes {
		if v.Host != nil && v.Host.SourcePath != nil || v.EfsVolumeConfiguration != nil || v.FsxWindowsFileServerVolumeConfiguration != nil || v.DockerVolumeConfiguration != nil {
			fault("volume %s is not the task's own", aws.ToString(v.Name))
		}
	}
	for _, c := range task.ContainerDefinitions {
		name := aws.ToString(c.Name)
		if !notRoot(aws.ToString(c.User)) {
			fault("%s: may run as root", name)
		}
		if !aws.ToBool(c.ReadonlyRootFilesystem) {
			fault("%s: its root can be written", name)
		}
		if aws.ToBool(c.Privileged) || len(c.DockerSecurityOptions) > 0 || len(c.SystemControls) > 0 {
			fault("%s: privileges", name)
		}
		if l := c.LinuxParameters; l == nil || l.Capabilities == nil || !slices.Equal(l.Capabilities.Drop, []string{"ALL"}) || len(l.Capabilities.Add) > 0 {
			fault("%s: capabilities", name)
		} else if len(l.Devices) > 0 {
			fault("%s: devices of the host", name)
		}
		if aws.ToBool(c.Interactive) || aws.ToBool(c.PseudoTerminal) {
			fault("%s: a terminal", name)
		}
		if why := imageFault(aws.ToString(c.Image)); why != "" {
			fault("%s: image %s: %s", name, aws.ToString(c.Image), why)
		}
		// One that ends by itself needs none.
		if h := c.HealthCheck; aws.ToBool(c.Essential) && (h == nil || !slices.Equal(h.Command, []string{"CMD", "/yoyu", "healthcheck"})) {
			fault("%s: does not ask itself whether it is well", name)
		}
		for _, e := range c.Environment {
			if secretName.MatchString(aws.ToString(e.Name)) || secret.MatchString(aws.ToString(e.Value)) {
				fault("%s: %s: a secret in plain text", name, aws.ToString(e.Name))
			}
		}
		if len(c.EnvironmentFiles) > 0 {
			fault("%s: an environment that nobody sees here", name)
		}
		for _, s := range c.Secrets {
			if !byARN.MatchString(aws.ToString(s.ValueFrom)) {
				fault("%s: %s is not named by an ARN", name, aws.ToString(s.Name))
			}
		}
		// What runs for long has files, not variables: its environment is in every dump of the process.
		if aws.ToBool(c.Essential) && len(c.Secrets) > 0 {
			fault("%s: secrets in its environment for as long as it runs", name)
		}
		for _, argument := range slices.Concat(c.EntryPoint, c.Command) {
			if secret.MatchString(argument) {
				fault("%s: %s: a secret on the command line", name, argument)
			}
		}
	}
	return faults
}

// serviceFaults says what is wrong with a service of ECS.
func serviceFaults(s *ecs.CreateServiceInput) (faults []string) {
	if s.EnableExecuteCommand {
		faults = append(faults, "anybody with the right may run commands in it")
	}
	if n := s.NetworkConfiguration; n == nil || n.AwsvpcConfiguration == nil || n.AwsvpcConfiguration.AssignPublicIp != types.AssignPublicIpDisabled {
		faults = append(faults, "it has a public address")
	} else if len(n.AwsvpcConfiguration.SecurityGroups) == 0 {
		faults = append(faults, "the VPC's default security group holds")
	}
	return faults
}

// fromJSON reads a file into a type of the SDK, strictly.
func fromJSON[T any](t *testing.T, file string) *T {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	into := new(T)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return into
}

// What is given for ECS obeys, and each rule finds what it is for: every broken copy has its one fault.
func TestECS(t *testing.T) {
	const task, service = "../ecs/task-definition.json", "../ecs/service.json"
	read := func() *ecs.RegisterTaskDefinitionInput {
		return fromJSON[ecs.RegisterTaskDefinitionInput](t, task)
	}
	for _, fault := range taskFaults(read()) {
		t.Errorf("%s: %s", task, fault)
	}
	const files, yoyu = 0, 1
	if got := read().ContainerDefinitions; len(got) != 2 || *got[files].Name != "files" || *got[yoyu].Name != "yoyu" {
		t.Fatalf("%d containers, want files and yoyu", len(got))
	}
	of := func(i int, change func(*types.ContainerDefinition)) func(*ecs.RegisterTaskDefinitionInput) {
		return func(task *ecs.RegisterTaskDefinitionInput) { change(&task.ContainerDefinitions[i]) }
	}
	for _, broken := range []struct {
		want   string
		change func(*ecs.RegisterTaskDefinitionInput)
	}{
		{"network host: it has none of its own", func(s *ecs.RegisterTaskDefinitionInput) { s.NetworkMode = types.NetworkModeHost }},
		{"network : it has none of its own", func(s *ecs.RegisterTaskDefinitionInput) { s.NetworkMode = "" }},
		{"shares a namespace of the host or the task", func(s *ecs.RegisterTaskDefinitionInput) { s.PidMode = types.PidModeTask }},
		{"shares a namespace of the host or the task", func(s *ecs.RegisterTaskDefinitionInput) { s.IpcMode = types.IpcModeHost }},
		{"no limit of cpu or memory", func(s *ecs.RegisterTaskDefinitionInput) { s.Cpu = nil }},
		{"no limit of cpu or memory", func(s *ecs.RegisterTaskDefinitionInput) { s.Memory = nil }},
		{"yoyu has the rights of what starts it", func(s *ecs.RegisterTaskDefinitionInput) { s.TaskRoleArn = s.ExecutionRoleArn }},
		{"yoyu has the rights of what starts it", func(s *ecs.RegisterTaskDefinitionInput) { s.TaskRoleArn = nil }},
		{"volume data is not the task's own", func(s *ecs.RegisterTaskDefinitionInput) {
			s.Volumes[0].Host = &types.HostVolumeProperties{SourcePath: aws.String("/")}
		}},
		{"volume data is not the task's own", func(s *ecs.RegisterTaskDefinitionInput) {
			s.Volumes[0].EfsVolumeConfiguration = &types.EFSVolumeConfiguration{}
		}},
		{"yoyu: may run as root", of(yoyu, func(c *types.ContainerDefinition) { c.User = nil })},
		{"yoyu: may run as root", of(yoyu, func(c *types.ContainerDefinition) { c.User = aws.String("root") })},
		{"files: may run as root", of(files, func(c *types.ContainerDefinition) { c.User = aws.String("0:65532") })},
		{"yoyu: its root can be written", of(yoyu, func(c *types.ContainerDefinition) { c.ReadonlyRootFilesystem = nil })},
		{"files: its root can be written", of(files, func(c *types.ContainerDefinition) { c.ReadonlyRootFilesystem = aws.Bool(false) })},
		{"yoyu: privileges", of(yoyu, func(c *types.ContainerDefinition) { c.Privileged = aws.Bool(true) })},
		{"yoyu: privileges", of(yoyu, func(c *types.ContainerDefinition) { c.DockerSecurityOptions = []string{"label:disable"} })},
		{"yoyu: privileges", of(yoyu, func(c *types.ContainerDefinition) { c.SystemControls = []types.SystemControl{{}} })},
		{"files: capabilities", of(files, func(c *types.ContainerDefinition) { c.LinuxParameters = nil })},
		{"yoyu: capabilities", of(yoyu, func(c *types.ContainerDefinition) { c.LinuxParameters.Capabilities.Drop = []string{"NET_RAW"} })},
		{"yoyu: capabilities", of(yoyu, func(c *types.ContainerDefinition) { c.LinuxParameters.Capabilities.Add = []string{"SYS_PTRACE"} })},
		{"yoyu: devices of the host", of(yoyu, func(c *types.ContainerDefinition) { c.LinuxParameters.Devices = []types.Device{{}} })},
		{"yoyu: a terminal", of(yoyu, func(c *types.ContainerDefinition) { c.PseudoTerminal = aws.Bool(true) })},
		{"yoyu: a terminal", of(yoyu, func(c *types.ContainerDefinition) { c.Interactive = aws.Bool(true) })},
		{"yoyu: image yoyu:latest: latest is no version", of(yoyu, func(c *types.ContainerDefinition) { c.Image = aws.String("yoyu:latest") })},
		{"files: image registry:5000/yoyu: it has no version", of(files, func(c *types.ContainerDefinition) { c.Image = aws.String("registry:5000/yoyu") })},
		{"yoyu: does not ask itself whether it is well", of(yoyu, func(c *types.ContainerDefinition) { c.HealthCheck = nil })},
		{"yoyu: does not ask itself whether it is well", of(yoyu, func(c *types.ContainerDefinition) { c.HealthCheck.Command = []string{"CMD-SHELL", "curl localhost"} })},
		{"yoyu: DD_API_KEY: a secret in plain text", of(yoyu, func(c *types.ContainerDefinition) {
			c.Environment = []types.KeyValuePair{{Name: aws.String("DD_API_KEY"), Value: aws.String("x")}}
		})},
		{"files: CONFIG: a secret in plain text", of(files, func(c *types.ContainerDefinition) {
			c.Environment = []types.KeyValuePair{{Name: aws.String("CONFIG"), Value: aws.String("basic_auth: {password: hunter2}")}}
		})},
		{"yoyu: an environment that nobody sees here", of(yoyu, func(c *types.ContainerDefinition) { c.EnvironmentFiles = []types.EnvironmentFile{{}} })},
		{"files: CONFIG is not named by an ARN", of(files, func(c *types.ContainerDefinition) { c.Secrets[0].ValueFrom = aws.String("hunter2") })},
		{"yoyu: secrets in its environment for as long as it runs", func(s *ecs.RegisterTaskDefinitionInput) {
			s.ContainerDefinitions[yoyu].Secrets = s.ContainerDefinitions[files].Secrets
		}},
		{"yoyu: --token=hunter2: a secret on the command line", of(yoyu, func(c *types.ContainerDefinition) { c.Command = append(c.Command, "--token=hunter2") })},
	} {
		copied := read()
		broken.change(copied)
		if faults := taskFaults(copied); !slices.Equal(faults, []string{broken.want}) {
			t.Errorf("%q, want %q alone", faults, broken.want)
		}
	}

	for _, fault := range serviceFaults(fromJSON[ecs.CreateServiceInput](t, service)) {
		t.Errorf("%s: %s", service, fault)
	}
	for _, broken := range []struct {
		want   string
		change func(*ecs.CreateServiceInput)
	}{
		{"anybody with the right may run commands in it", func(s *ecs.CreateServiceInput) { s.EnableExecuteCommand = true }},
		{"it has a public address", func(s *ecs.CreateServiceInput) { s.NetworkConfiguration = nil }},
		{"it has a public address", func(s *ecs.CreateServiceInput) {
			s.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp = types.AssignPublicIpEnabled
		}},
		{"the VPC's default security group holds", func(s *ecs.CreateServiceInput) { s.NetworkConfiguration.AwsvpcConfiguration.SecurityGroups = nil }},
	} {
		copied := fromJSON[ecs.CreateServiceInput](t, service)
		broken.change(copied)
		if faults := serviceFaults(copied); !slices.Equal(faults, []string{broken.want}) {
			t.Errorf("%q, want %q alone", faults, broken.want)
		}
	}
}
